#include "cli/options_model.h"

#include <beacon/error.h>

#include "cli/option_helpers.h"

namespace beacon::cli {

void add_model_options(CLI::App& command, ModelOptions& options) {
  constexpr const char* kGroup = "Model";
  add_path(command, "-m,--model", options.model, "Hugging Face folder or GGUF file")
      ->required()
      ->group(kGroup);
  command
      .add_option_function<std::string>(
          "-a,--adapter", [&options](const std::string& path) { options.adapter = path; },
          "Folder with the beacon tensors (default: those in the model, else copies of the base's)")
      ->type_name("PATH")
      ->group(kGroup);
  add_choice<ComputeType>(command, "--compute", options.compute,
                          {{"auto", ComputeType::kAuto},
                           {"f32", ComputeType::kF32},
                           {"q15", ComputeType::kQ15},
                           {"bf16", ComputeType::kBF16}},
                          "Arithmetic of the dense layers")
      ->group(kGroup);
  command.add_option("--device", options.device, "Where the network runs: cpu, cuda or cuda:N")
      ->type_name("DEVICE")
      ->capture_default_str()
      ->group(kGroup);
  command.add_option("--threads", options.threads, "Threads; 0 = all cores")
      ->check(whole_number<int>(0))
      ->type_name("INT")
      ->capture_default_str()
      ->group(kGroup);
  add_optional(command, "--rope-scaling", options.rope.scaling,
               "Extend the window: none, linear, dynamic, yarn, llama3 or ntk (default: the model's)")
      ->type_name("TYPE")
      ->group(kGroup);
  add_optional(command, "--rope-factor", options.rope.factor,
               "Positions as a multiple of what the model was trained on (default: the model's)")
      ->type_name("F")
      ->group(kGroup);
  add_optional(command, "--rope-theta", options.rope.theta, "Base of the rotation (default: the model's)")
      ->type_name("T")
      ->group(kGroup);
  add_optional(
      command, "--beacon-gate", options.beacon_gate,
      "Bias on the scores of beacon keys where the adapter has no gate; -4 nearly silences untrained "
      "beacons (default: none; -4 where nothing configures beacons, but for echoes)")
      ->type_name("X")
      ->group(kGroup);
}

}  // namespace beacon::cli
