// Tokenizers from folders and files.
#include "tokenizer/load.h"

#include <algorithm>

#include "base/check.h"
#include "base/mapped_file.h"
#include "io/gguf.h"
#include "tokenizer/assemble.h"
#include "tokenizer/tokenizer_json.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// A token is written as its text or as an object with its text.
std::optional<std::string> token_field(const JsonFields& config, const char* key) {
  const Json* value = config.find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return config.object(key).string("content");
  return config.string(key);
}

std::optional<std::string> template_field(const JsonFields& config) {
  const Json* value = config.find("chat_template");
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  // A list of named templates.
  for (const Json& entry : config.array("chat_template")) {
    const JsonFields fields(entry, config.where() + ": chat_template");
    if (fields.string("name") == "default") return fields.string("template");
  }
  return std::nullopt;
}

// The Llama tokenizers of transformers rebuild their post-processor from these two flags.
void apply_bos_flags(const JsonFields& config, Tokenizer::Impl& impl) {
  if (!config.string("tokenizer_class", "").starts_with("LlamaTokenizer")) return;
  if (config.find("add_bos_token") != nullptr) {
    impl.prefix.clear();
    if (config.boolean("add_bos_token", true) && impl.bos) impl.prefix = {*impl.bos};
  }
  if (config.find("add_eos_token") != nullptr) {
    impl.suffix.clear();
    if (config.boolean("add_eos_token", false) && !impl.eos.empty()) impl.suffix = {impl.eos[0]};
  }
}

std::vector<AddedToken> added_of_config(const JsonFields& config, size_t piece_count) {
  std::vector<AddedToken> added;
  if (config.find("added_tokens_decoder") == nullptr) return added;
  const JsonFields list = config.object("added_tokens_decoder");
  const auto limit = static_cast<int64_t>(piece_count + list.json().size() * 2 + 65536);
  for (const auto& [key, value] : list.json().items()) {
    const JsonFields fields(value, list.where());
    int64_t id = -1;
    if (!key.empty() && key.size() < 10 &&
        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; }))
      id = std::stoll(key);
    require(id >= 0 && id < limit, ErrorCode::kBadFile, "{}: expected ids of 0 to {}, found '{}'",
            list.where(), limit - 1, key.substr(0, 40));
    AddedToken token;
    token.text = fields.string("content");
    token.id = static_cast<int32_t>(id);
    token.special = fields.boolean("special", false);
    token.single_word = fields.boolean("single_word", false);
    token.strip_left = fields.boolean("lstrip", false);
    token.strip_right = fields.boolean("rstrip", false);
    added.push_back(std::move(token));
  }
  return added;
}

std::unique_ptr<Tokenizer::Impl> read_model_file(const fs::path& path, const fs::path& config_path) {
  const auto file = MappedFile::open(path);
  const SentencePieceModel model = parse_sentencepiece_model(file->bytes(), path.string());
  DummyPrefix prefix = DummyPrefix::kEverySection;
  std::vector<AddedToken> added;
  if (fs::exists(config_path)) {
    const auto config_file = MappedFile::open(config_path);
    const Json json = parse_json(text_of(*config_file), config_path.string());
    const JsonFields config(json, config_path.string());
    if (!config.boolean("legacy", true)) prefix = DummyPrefix::kFirstSection;
    added = added_of_config(config, model.pieces.size());
  }
  return tokenizer_from_sentencepiece(model, prefix, std::move(added), path.string());
}

std::unique_ptr<Tokenizer::Impl> read_json_file(const fs::path& path) {
  const auto file = MappedFile::open(path);
  return parse_tokenizer_json(text_of(*file), path.string());
}

// What stands beside the tokenizer in a model's folder.
void apply_neighbours(const fs::path& folder, Tokenizer::Impl& impl) {
  const auto apply = [&](const char* name, auto function) {
    const fs::path path = folder / name;
    if (!fs::exists(path)) return;
    const auto file = MappedFile::open(path);
    function(text_of(*file), path.string());
  };
  apply("tokenizer_config.json",
        [&](std::string_view text, const std::string& what) { apply_tokenizer_config(text, what, impl); });
  apply("chat_template.jinja",
        [&](std::string_view text, const std::string&) { impl.chat_template = std::string(text); });
  apply("generation_config.json",
        [&](std::string_view text, const std::string& what) { apply_generation_config(text, what, impl); });
}

std::unique_ptr<Tokenizer::Impl> read_folder(const fs::path& folder) {
  std::unique_ptr<Tokenizer::Impl> impl;
  if (fs::exists(folder / "tokenizer.json"))
    impl = read_json_file(folder / "tokenizer.json");
  else if (fs::exists(folder / "tokenizer.model"))
    impl = read_model_file(folder / "tokenizer.model", folder / "tokenizer_config.json");
  else
    fail(ErrorCode::kNotFound, "{}: expected tokenizer.json or tokenizer.model in the folder, found neither",
         folder.string());
  apply_neighbours(folder, *impl);
  return impl;
}

std::unique_ptr<Tokenizer::Impl> read_file(const fs::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text = text_of(*file);
  if (text.starts_with("GGUF")) {
    const GgufFile gguf = GgufFile::open(path);
    return tokenizer_from_gguf_vocabulary(read_gguf_vocabulary(gguf), path.string());
  }
  std::unique_ptr<Tokenizer::Impl> impl;
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool is_json = begin != std::string_view::npos && text[begin] == '{';
  const fs::path folder = path.parent_path();
  impl = is_json ? read_json_file(path) : read_model_file(path, folder / "tokenizer_config.json");
  if (path.filename() == "tokenizer.json" || path.filename() == "tokenizer.model")
    apply_neighbours(folder, *impl);
  return impl;
}

}  // namespace

void apply_tokenizer_config(std::string_view text, const std::string& what, Tokenizer::Impl& impl) {
  const Json json = parse_json(text, what);
  const JsonFields config(json, what);
  const auto id_of = [&](const char* key) -> std::optional<int32_t> {
    const auto token = token_field(config, key);
    if (!token) return std::nullopt;
    const auto id = impl.vocabulary.find(*token);
    require(id.has_value(), ErrorCode::kBadFile, "{}: the {} '{}' is not in the vocabulary", what, key,
            std::string_view(*token).substr(0, 40));
    return id;
  };
  if (const auto id = id_of("bos_token")) impl.bos = id;
  if (const auto id = id_of("eos_token")) {
    impl.eos = {*id};
    apply_bos_flags(config, impl);
    add_known_end_tokens(impl);
  } else {
    apply_bos_flags(config, impl);
  }
  if (auto jinja = template_field(config)) impl.chat_template = std::move(jinja);
}

void apply_generation_config(std::string_view text, const std::string& what, Tokenizer::Impl& impl) {
  const Json json = parse_json(text, what);
  const JsonFields config(json, what);
  if (!impl.bos && config.find("bos_token_id") != nullptr && config.at("bos_token_id").is_number_integer()) {
    const int64_t id = config.integer("bos_token_id");
    if (id < impl.vocabulary.size()) impl.bos = check_token_id(impl, id, "a bos_token_id", what);
  }
  const Json* ends = config.find("eos_token_id");
  if (ends == nullptr) return;
  std::vector<int64_t> ids;
  if (ends->is_array()) {
    for (const Json& id : *ends) {
      require(id.is_number_integer(), ErrorCode::kBadFile, "{}: expected integers under 'eos_token_id'",
              what);
      ids.push_back(id.get<int64_t>());
    }
  } else {
    ids.push_back(config.integer("eos_token_id"));
  }
  for (const int64_t id : ids) add_end_token(impl, check_token_id(impl, id, "an eos_token_id", what));
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& path) {
  require(fs::exists(path), ErrorCode::kNotFound,
          "{}: expected a model folder or a tokenizer file, found nothing", path.string());
  return std::make_shared<const Tokenizer>(fs::is_directory(path) ? read_folder(path) : read_file(path));
}

}  // namespace beacon
