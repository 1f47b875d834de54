#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "engine/parity.h"
#include "train/parity.h"

namespace beacon::cli {
namespace {

struct ParityArgs {
  OutputOptions output;
  std::vector<std::string> cases;
  std::string device = "cpu";
};

const char* to_string(decltype(ParityLine::status) status) {
  switch (status) {
    case ParityLine::kPass:
      return "pass";
    case ParityLine::kFail:
      return "FAIL";
    case ParityLine::kQuirk:
      return "quirk";
    case ParityLine::kSkipped:
      return "skipped";
  }
  return "?";
}

bool is_compared(const ParityLine& line) {
  return line.status == ParityLine::kPass || line.status == ParityLine::kFail ||
         line.status == ParityLine::kQuirk;
}

void print_line(const OutputOptions& output, const std::string& name, const ParityLine& line) {
  const bool compared = is_compared(line);
  if (output.json) {
    nlohmann::ordered_json json = {
        {"case", name}, {"section", line.section}, {"status", to_string(line.status)}};
    if (compared) {
      json["max_abs_diff"] = line.max_abs_diff;
      json["tolerance"] = line.tolerance;
    }
    json["note"] = line.note;
    print_json(json);
    return;
  }
  const std::string numbers =
      compared ? fmt::format("{:9.2e} (<= {:.0e})", line.max_abs_diff, line.tolerance) : std::string(19, ' ');
  print(fmt::format("{:<30} {:<16} {:<8}{}  {}\n", name, line.section, to_string(line.status), numbers,
                    line.note));
}

int run_parity(const ParityArgs& args) {
  int counts[4] = {};
  for (const auto& folder : args.cases) {
    const std::filesystem::path path(folder);
    const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
    for (const auto run : {run_parity_case, run_training_parity_case}) {
      for (const ParityLine& line : run(path, args.device)) {
        print_line(args.output, name, line);
        ++counts[line.status];
      }
    }
  }
  note(fmt::format("{} sections pass, {} fail, {} are quirks of the original, {} are skipped",
                   counts[ParityLine::kPass], counts[ParityLine::kFail], counts[ParityLine::kQuirk],
                   counts[ParityLine::kSkipped]));
  return counts[ParityLine::kFail] > 0 ? kExitFailure : kExitOk;
}

}  // namespace

void add_parity_command(CLI::App& app, Action& action) {
  auto args = std::make_shared<ParityArgs>();
  CLI::App& command =
      *app.add_subcommand("parity", "Run golden cases made with the original; exit 1 when one is off");
  command.add_option("cases", args->cases, "Folders of cases")->type_name("CASE_DIR")->required();
  command.add_option("--device", args->device, "Where the network runs: cpu, cuda or cuda:N")
      ->type_name("DEVICE")
      ->capture_default_str();
  add_json_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_parity(*args); }; });
}

}  // namespace beacon::cli
