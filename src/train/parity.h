#pragma once
// Runs the training sections of a golden case: loss, logits and gradients of the original Python code.
#include <filesystem>
#include <vector>

#include "engine/parity.h"

namespace beacon {

// Compares train_loss, train.logits, train.token_loss, grad.* and grad_all.* of the case in the folder, as
// run_parity_case() does the rest; none when the case has no such section. Gradients are compared relative to
// the largest element of each tensor. On a device other than the processor without those that need gradients
// of the base. Throws Error when the folder is not a case.
std::vector<ParityLine> run_training_parity_case(const std::filesystem::path& folder,
                                                 const std::string& device = "cpu");

}  // namespace beacon
