#pragma once
// Runs a golden case: a tiny checkpoint with what the original Python code computed for it.
#include <filesystem>
#include <string>
#include <vector>

namespace beacon {

// One compared section of a case.
struct ParityLine {
  enum Status {
    kPass,
    kFail,
    kQuirk,  // the section holds a bug of the original: compared and shown, but it need not agree
    kSkipped,
  };
  std::string section;
  Status status = kSkipped;
  double max_abs_diff = 0.0;  // of gradients: relative to the largest element
  double tolerance = 0.0;
  std::string note;
};

// Compares every section of reading of the case in the folder (those of training: train/parity.h;case.json,
// config.json, model.safetensors, expected.safetensors; the form is that of the golden cases in
// tests/data/golden). f32, on the device (ModelOptions::device). Throws Error when the folder is not such a
// case.
std::vector<ParityLine> run_parity_case(const std::filesystem::path& folder,
                                        const std::string& device = "cpu");

}  // namespace beacon
