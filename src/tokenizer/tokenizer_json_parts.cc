// Normalizers, pre-tokenizers and post-processors of a tokenizer.json.
#include "base/check.h"
#include "tokenizer/tokenizer_json.h"

namespace beacon {
namespace {

constexpr int kMaxDepth = 8;

[[noreturn]] void refuse_type(const JsonFields& fields, std::string_view type, std::string_view known) {
  fail(ErrorCode::kUnsupported, "{}: expected one of {}, found '{}'", fields.where(), known,
       type.substr(0, 60));
}

void check_depth(int depth, const std::string& where) {
  require(depth <= kMaxDepth, ErrorCode::kUnsupported, "{}: sequences nested deeper than {}", where,
          kMaxDepth);
}

struct Pattern {
  std::string text;
  bool is_regex = false;
};

Pattern parse_pattern(const JsonFields& fields) {
  const Json& value = fields.at("pattern");
  if (value.is_string()) return {value.get<std::string>(), false};
  const JsonFields pattern(value, fields.where() + ": pattern");
  if (pattern.find("String") != nullptr) return {pattern.string("String"), false};
  if (pattern.find("Regex") != nullptr) return {pattern.string("Regex"), true};
  fail(ErrorCode::kUnsupported, "{}: expected a pattern of kind String or Regex", fields.where());
}

void add_normalizer(const Json& json, const std::string& where, int depth, Normalizer& out) {
  check_depth(depth, where);
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") {
    for (const Json& entry : fields.array("normalizers")) add_normalizer(entry, where, depth + 1, out);
  } else if (type == "NFC") {
    out.add_form(NormalForm::kNfc);
  } else if (type == "NFD") {
    out.add_form(NormalForm::kNfd);
  } else if (type == "NFKC") {
    out.add_form(NormalForm::kNfkc);
  } else if (type == "NFKD") {
    out.add_form(NormalForm::kNfkd);
  } else if (type == "Prepend") {
    out.add_prepend(fields.string("prepend"));
  } else if (type == "Replace") {
    const Pattern pattern = parse_pattern(fields);
    if (pattern.is_regex)
      out.add_replace(Regex(pattern.text), fields.string("content"));
    else
      out.add_replace(pattern.text, fields.string("content"));
  } else {
    refuse_type(fields, type, "the normalizers NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence");
  }
}

SplitBehavior parse_behavior(const JsonFields& fields) {
  const std::string name = fields.string("behavior");
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  refuse_type(fields, name,
              "the behaviors Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

// Older files have add_prefix_space in place of prepend_scheme.
PrependScheme parse_prepend_scheme(const JsonFields& fields) {
  if (fields.find("prepend_scheme") == nullptr)
    return fields.boolean("add_prefix_space", true) ? PrependScheme::kAlways : PrependScheme::kNever;
  const std::string name = fields.string("prepend_scheme");
  if (name == "always") return PrependScheme::kAlways;
  if (name == "first") return PrependScheme::kFirst;
  if (name == "never") return PrependScheme::kNever;
  refuse_type(fields, name, "the prepend schemes always, first, never");
}

void add_pre_tokenizer(const Json& json, const std::string& where, int depth, PreTokenizer& out) {
  check_depth(depth, where);
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") {
    for (const Json& entry : fields.array("pretokenizers")) add_pre_tokenizer(entry, where, depth + 1, out);
  } else if (type == "ByteLevel") {
    out.add_byte_level(fields.boolean("use_regex", true), fields.boolean("add_prefix_space", true));
  } else if (type == "Split") {
    const Pattern pattern = parse_pattern(fields);
    const SplitBehavior behavior = parse_behavior(fields);
    const bool invert = fields.boolean("invert", false);
    if (pattern.is_regex)
      out.add_split(Regex(pattern.text), behavior, invert);
    else
      out.add_split(pattern.text, behavior, invert);
  } else if (type == "Digits") {
    out.add_digits(fields.boolean("individual_digits", false));
  } else if (type == "Metaspace") {
    out.add_metaspace(fields.string("replacement", kSpaceMark), parse_prepend_scheme(fields),
                      fields.boolean("split", true));
  } else {
    refuse_type(fields, type, "the pre-tokenizers ByteLevel, Split, Digits, Metaspace, Sequence");
  }
}

void add_template(const JsonFields& fields, Tokenizer::Impl& impl) {
  bool after_text = false;
  for (const Json& entry : fields.array("single")) {
    const JsonFields item(entry, fields.where() + ": single");
    if (item.find("Sequence") != nullptr) {
      require(!after_text, ErrorCode::kUnsupported, "{}: expected the text once, found it twice",
              item.where());
      after_text = true;
      continue;
    }
    const std::string name = item.object("SpecialToken").string("id");
    const JsonFields specials = fields.object("special_tokens");
    for (const Json& id : specials.object(name.c_str()).array("ids")) {
      require(id.is_number_integer() && id >= 0 && id < impl.vocabulary.size(), ErrorCode::kBadFile,
              "{}: expected ids of the vocabulary for '{}'", specials.where(), name);
      (after_text ? impl.suffix : impl.prefix).push_back(id.get<int32_t>());
    }
  }
  require(after_text, ErrorCode::kBadFile, "{}: expected a place for the text in the template, found none",
          fields.where());
}

void add_post_processor(const Json& json, const std::string& where, int depth, Tokenizer::Impl& impl) {
  check_depth(depth, where);
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") {
    for (const Json& entry : fields.array("processors")) add_post_processor(entry, where, depth + 1, impl);
  } else if (type == "TemplateProcessing") {
    require(impl.prefix.empty() && impl.suffix.empty(), ErrorCode::kUnsupported,
            "{}: expected one TemplateProcessing, found two", where);
    add_template(fields, impl);
  } else if (type != "ByteLevel") {  // which only moves offsets
    refuse_type(fields, type, "the post-processors TemplateProcessing, ByteLevel, Sequence");
  }
}

}  // namespace

Normalizer parse_normalizer(const Json* json, const std::string& where) {
  Normalizer out;
  if (json != nullptr) add_normalizer(*json, where, 0, out);
  return out;
}

PreTokenizer parse_pre_tokenizer(const Json* json, const std::string& where) {
  PreTokenizer out;
  if (json != nullptr) add_pre_tokenizer(*json, where, 0, out);
  return out;
}

void parse_post_processor(const Json* json, const std::string& where, Tokenizer::Impl& impl) {
  if (json != nullptr) add_post_processor(*json, where, 0, impl);
}

}  // namespace beacon
