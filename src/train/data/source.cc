#include "train/data/source.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/log.h"
#include "io/json_lines.h"

namespace beacon::train {
namespace {

namespace fs = std::filesystem;

// Reads a number that is all of `text`.
template <typename T>
T number(std::string_view text, const std::string& whole, const char* what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && value > 0, ErrorCode::kInvalidArgument,
          "data source '{}': expected {} above 0, found '{}'", whole, what, text);
  return value;
}

struct SourceFile {
  std::string name;
  fs::path path;
};

std::vector<SourceFile> files_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {{path.filename().string(), path}};
  std::vector<SourceFile> files;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    const fs::path extension = at->path().extension();
    std::error_code ignored;
    if (at->is_regular_file(ignored) && (extension == ".txt" || extension == ".jsonl"))
      files.push_back({at->path().filename().string(), at->path()});
  }
  require(!error, ErrorCode::kIo, "cannot read the folder {}: {}", path.string(), error.message());
  require(!files.empty(), ErrorCode::kBadFile, "{} holds no .txt or .jsonl file", path.string());
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

// An empty file cannot be mapped; it is a fault of the data like a broken line.
std::shared_ptr<const MappedFile> open_file(const SourceFile& file) {
  std::error_code ignored;
  return fs::file_size(file.path, ignored) == 0 && fs::is_regular_file(file.path, ignored)
             ? nullptr
             : MappedFile::open(file.path);
}

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Names and contents of all files with the encoder, as 32 hex digits; adds up the bytes.
std::string key_of(const std::vector<SourceFile>& files, const Encoder& encoder, uint64_t& total_bytes) {
  std::string parts = encoder.fingerprint();
  for (const SourceFile& file : files) {
    const auto mapped = open_file(file);
    const std::string_view text = mapped ? text_of(*mapped) : std::string_view();
    total_bytes += text.size();
    const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
    parts += fmt::format("\n{}:{}:{:016x}{:016x}", file.name, text.size(), hash.high64, hash.low64);
  }
  const XXH128_hash_t hash = XXH3_128bits(parts.data(), parts.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

class Importer {
 public:
  Importer(const Encoder& encoder, TokenCacheWriter& writer) : encoder_(encoder), writer_(writer) {}

  void add_file(const SourceFile& file, const std::function<void(uint64_t bytes)>& on_bytes) {
    const auto number = static_cast<uint32_t>(header_.files.size());
    header_.files.push_back(file.name);
    const auto mapped = open_file(file);
    if (!mapped) return skip(file.name + ": the file is empty");
    const std::string_view text = text_of(*mapped);
    if (file.path.extension() != ".jsonl") {
      Example example;
      example.text = text;
      add(example, number, 0);
    } else {
      for_each_json_line(text, [&](const JsonLine& line) {
        add_line(line, file.name, number);
        on_bytes(line.bytes_before);
        return true;
      });
    }
    on_bytes(text.size());
  }

  TokenCacheHeader header() const { return header_; }
  int64_t documents() const { return documents_; }

 private:
  void add_line(const JsonLine& line, const std::string& name, uint32_t number) {
    const std::string where = fmt::format("{}:{}", name, line.number);
    if (line.object == nullptr) return skip(where + ": " + line.error);
    try {
      require(line.number <= UINT32_MAX, ErrorCode::kBadFile, "{}: more lines than can be counted", where);
      add(parse_example(*line.object, where), number, static_cast<uint32_t>(line.number));
    } catch (const Error& error) {
      // Roles that the template does not allow are a fault of this line alone.
      if (error.code() != ErrorCode::kBadFile && error.code() != ErrorCode::kInvalidArgument) throw;
      const std::string message = error.what();
      skip(message.rfind(where, 0) == 0 ? message : where + ": " + message);
    }
  }

  void add(const Example& example, uint32_t file, uint32_t line) {
    writer_.add(encoder_.encode(example), file, line);
    ++documents_;
  }

  void skip(std::string problem) {
    ++header_.broken;
    if (header_.problems.size() < kKeptProblems) header_.problems.push_back(std::move(problem));
  }

  const Encoder& encoder_;
  TokenCacheWriter& writer_;
  TokenCacheHeader header_;
  int64_t documents_ = 0;
};

void report(const fs::path& path, const TokenCacheHeader& header) {
  for (const std::string& problem : header.problems) log_warning("left out: " + problem);
  if (header.broken > 0)
    log_warning(fmt::format("{}: {} lines or files are left out", path.string(), header.broken));
}

// The cache if it is there, undamaged and the right one.
std::shared_ptr<const TokenCache> cached(const fs::path& path, const std::string& key) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return nullptr;
  try {
    auto cache = TokenCache::open(path);
    if (cache->header().key == key) return cache;
  } catch (const Error& error) {
    log_warning(fmt::format("making a token cache again: {}", error.what()));
  }
  return nullptr;
}

}  // namespace

DataSource parse_source(const std::string& text) {
  DataSource source;
  std::string_view rest = text;
  if (const size_t star = rest.rfind('*'); star != rest.npos) {
    source.weight = number<double>(rest.substr(star + 1), text, "a weight");
    require(source.weight <= 1e6, ErrorCode::kInvalidArgument,
            "data source '{}': expected a weight up to 1e6", text);
    rest = rest.substr(0, star);
  }
  if (!rest.empty() && rest.back() == ']') {
    const size_t open = rest.rfind('[');
    require(open != rest.npos, ErrorCode::kInvalidArgument, "data source '{}': expected a '[' before ']'",
            text);
    source.limit =
        number<int64_t>(rest.substr(open + 1, rest.size() - open - 2), text, "a number of samples");
    rest = rest.substr(0, open);
  }
  require(!rest.empty(), ErrorCode::kInvalidArgument, "data source '{}': expected a path", text);
  source.path = rest;
  return source;
}

std::shared_ptr<const TokenCache> import_source(const DataSource& source, const Encoder& encoder,
                                                const fs::path& folder, const ImportProgress& progress) {
  const auto files = files_of(source.path);
  uint64_t total = 0, before = 0;
  const std::string key = key_of(files, encoder, total);
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot make the folder {}: {}", folder.string(), error.message());
  const fs::path path = folder / fmt::format("{}.tokens", key);
  if (auto cache = cached(path, key)) {
    report(source.path, cache->header());
    return cache;
  }
  TokenCacheWriter writer(path, encoder.tokenizer().vocab_size());
  Importer importer(encoder, writer);
  for (const SourceFile& file : files) {
    uint64_t in_file = 0;
    importer.add_file(file, [&](uint64_t bytes) {
      in_file = bytes;
      require(!progress || progress(before + bytes, total), ErrorCode::kCancelled, "stopped while reading {}",
              file.path.string());
    });
    before += in_file;
  }
  report(source.path, importer.header());
  require(importer.documents() > 0, ErrorCode::kBadFile, "{}: nothing to learn from was found{}",
          source.path.string(),
          importer.header().problems.empty() ? "" : "; first: " + importer.header().problems.front());
  TokenCacheHeader header = importer.header();
  header.key = key;
  if (encoder.tokenizer().adds_bos()) header.bos = encoder.tokenizer().bos_id().value_or(-1);
  writer.finish(std::move(header));
  return TokenCache::open(path);
}

}  // namespace beacon::train
