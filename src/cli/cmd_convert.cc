#include "base/check.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/option_helpers.h"
#include "cli/terminal.h"
#include "io/convert.h"

namespace beacon::cli {
namespace {

struct ConvertArgs {
  std::filesystem::path in, adapter, out;
  DType dtype = DType::kF32;
};

void add_split(CLI::App& convert, Action& action) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App& split = *convert.add_subcommand("split", "A merged checkpoint into a base and an adapter");
  add_path(split, "checkpoint", args->in, "Folder with base and beacon tensors")->required();
  add_path(split, "--base", args->out, "New folder for the base")->required();
  add_path(split, "--adapter", args->adapter, "New folder for the adapter")->required();
  split.callback([args, &action] {
    action = [args] {
      split_merged(args->in, args->out, args->adapter);
      print(args->out.string() + "\n" + args->adapter.string() + "\n");
      return kExitOk;
    };
  });
}

void add_merge(CLI::App& convert, Action& action) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App& command = *convert.add_subcommand("merge", "A base and an adapter into one checkpoint");
  add_path(command, "--base", args->in, "Folder of the base")->required();
  add_path(command, "--adapter", args->adapter, "Folder of the adapter")->required();
  add_path(command, "-o,--out", args->out, "New folder for the merged checkpoint")->required();
  command.callback([args, &action] {
    action = [args] {
      merge(args->in, args->adapter, args->out);
      print(args->out.string() + "\n");
      return kExitOk;
    };
  });
}

void add_gguf(CLI::App& convert, Action& action) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App& command = *convert.add_subcommand(
      "gguf-to-safetensors", "The tensors of a GGUF file as model.safetensors with a config.json");
  add_path(command, "gguf", args->in, "GGUF file")->required();
  add_path(command, "-o,--out", args->out, "New folder")->required();
  add_choice<DType>(command, "--dtype", args->dtype,
                    {{"f32", DType::kF32}, {"bf16", DType::kBF16}, {"f16", DType::kF16}},
                    "Element type to write");
  command.callback([args, &action] {
    action = [args] {
      gguf_to_safetensors(args->in, args->out, args->dtype);
      print(args->out.string() + "\n");
      return kExitOk;
    };
  });
}

}  // namespace

void add_convert_command(CLI::App& app, Action& action) {
  CLI::App& convert = *app.add_subcommand("convert", "Change the form of a checkpoint");
  convert.require_subcommand(1);
  add_split(convert, action);
  add_merge(convert, action);
  add_gguf(convert, action);
}

}  // namespace beacon::cli
