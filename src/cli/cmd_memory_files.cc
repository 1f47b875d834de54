// beacon memory info, beacon memory verify
#include <beacon/memory.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/ledger_report.h"
#include "cli/option_helpers.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"

namespace beacon::cli {
namespace {

struct FileArgs {
  ModelOptions model;
  OutputOptions output;
  std::filesystem::path file;
};

nlohmann::ordered_json info_json(const MemoryFileInfo& info) {
  nlohmann::ordered_json ledger = ledger_json(info.ledger);
  for (const char* of_the_model : {"weight_bytes", "max_positions"}) ledger.erase(of_the_model);
  return {{"format_version", info.format_version},
          {"title", info.title},
          {"base", info.base_fingerprint},
          {"adapter", info.adapter_fingerprint},
          {"tokenizer", info.tokenizer_fingerprint},
          {"source_hash", info.source_hash},
          {"rope", info.rope},
          {"options", nlohmann::ordered_json::parse(info.options_json, nullptr, false)},
          {"memory_type", info.memory_type},
          {"file_bytes", info.file_bytes},
          {"layers", info.layers},
          {"kv_heads", info.kv_heads},
          {"head_dim", info.head_dim},
          {"ledger", std::move(ledger)}};
}

std::string info_text(const MemoryFileInfo& info) {
  const Ledger& ledger = info.ledger;
  std::string text;
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("{:<14}{}\n", name, value);
  };
  line("format",
       fmt::format("version {}, {}", info.format_version, human_bytes(static_cast<double>(info.file_bytes))));
  line("title", info.title);
  line("base", info.base_fingerprint);
  line("adapter", info.adapter_fingerprint);
  line("tokenizer", info.tokenizer_fingerprint);
  line("source hash", info.source_hash);
  line("rope", info.rope);
  line("options", info.options_json);
  line("numbers", fmt::format("{} layers x {} heads x {}, {}", info.layers, info.kv_heads, info.head_dim,
                              info.memory_type));
  line("tokens read", fmt::format("{}", ledger.tokens_read));
  line("ratio", fmt::format("{}  ({} windows closed)", ratios_text(ledger.ratios), ledger.ratios.size()));
  line("rows",
       fmt::format("{} sink, {} beacons, {} raw", ledger.sink_rows, ledger.beacon_rows, ledger.raw_rows));
  return text;
}

int run_info(const FileArgs& args) {
  const MemoryFileInfo info = inspect_memory_file(args.file, /*verify=*/false);
  args.output.json ? print_json(info_json(info)) : print(info_text(info));
  return kExitOk;
}

int run_verify(const FileArgs& args) {
  const MemoryFileInfo info = inspect_memory_file(args.file, /*verify=*/true);
  const bool with_model = !args.model.model.empty();
  if (with_model) Memory::load(args.file, Model::load(args.model));
  if (args.output.json) {
    print_json({{"file", args.file.string()},
                {"intact", true},
                {"fits_model", with_model ? nlohmann::ordered_json(true) : nlohmann::ordered_json()}});
  } else {
    print(fmt::format("{}: intact, {} tokens read{}\n", args.file.string(), info.ledger.tokens_read,
                      with_model ? ", fits the model" : ""));
  }
  return kExitOk;
}

}  // namespace

void add_memory_files_commands(CLI::App& memory, Action& action) {
  auto info_args = std::make_shared<FileArgs>();
  CLI::App& info = *memory.add_subcommand("info", "What a memory file says about itself");
  add_path(info, "file", info_args->file, "Memory file")->required();
  add_json_option(info, info_args->output);
  info.callback([info_args, &action] { action = [info_args] { return run_info(*info_args); }; });

  auto verify_args = std::make_shared<FileArgs>();
  CLI::App& verify =
      *memory.add_subcommand("verify", "Check a memory file, and that it fits a model if one is named");
  add_path(verify, "file", verify_args->file, "Memory file")->required();
  add_model_options(verify, verify_args->model);
  verify.get_option("--model")->required(false);
  add_json_option(verify, verify_args->output);
  verify.callback([verify_args, &action] { action = [verify_args] { return run_verify(*verify_args); }; });
}

}  // namespace beacon::cli
