#include "train/data/make/make_data.h"

#include <algorithm>
#include <cmath>

#include "base/atomic_file.h"
#include "base/check.h"
#include "train/data/make/overlap.h"
#include "train/data/make/wording.h"

namespace beacon::train {
namespace {

// For questions' wording and the template around them, beyond what is counted.
constexpr int64_t kReserve = 64;
// A line of a list takes so many tokens, and lists take a third of a sample at most.
constexpr int64_t kTokensPerEntry = 16;
// A thing of a dense text takes so many, with its question, its answer and some prose around it.
constexpr int64_t kTokensPerThing = 120;

void check(const MakeDataOptions& o) {
  constexpr auto kBad = ErrorCode::kInvalidArgument;
  require(o.samples >= 1, kBad, "samples: expected at least 1, found {}", o.samples);
  require(o.recall >= 0 && o.recall <= 1, kBad, "recall: expected a share from 0 to 1, found {}", o.recall);
  require(o.recall == 0 || !o.tasks.empty(), kBad, "tasks: expected at least one, found none");
  require(o.min_length >= 256 && o.min_length <= o.max_length && o.max_length <= int64_t{1} << 24, kBad,
          "lengths: expected 256 <= min <= max <= {}, found {} and {}", int64_t{1} << 24, o.min_length,
          o.max_length);
  require(o.window >= 16 && o.window <= o.max_length, kBad,
          "window: expected 16 to the max length ({}), found {}", o.max_length, o.window);
}

std::vector<size_t> overlapping(const Library& library, const std::vector<std::filesystem::path>& exclude) {
  std::vector<size_t> indexes;
  if (exclude.empty()) return indexes;
  const OverlapFilter filter(exclude);
  for (size_t i = 0; i < library.books().size(); ++i)
    if (filter.share(library.books()[i].text()) > kMostOverlap) indexes.push_back(i);
  return indexes;
}

void append(Recall part, Recall& all) {
  for (auto& text : part.planted) all.planted.push_back(std::move(text));
  for (auto& question : part.questions) all.questions.push_back(std::move(question));
}

// What a sample of several tasks is made of; nothing of the passage itself.
Recall several(int64_t entries, UsedWords& used, Random& random) {
  static const std::vector<Task> kParts = {Task::kPasskey, Task::kNeedle, Task::kFacts, Task::kKeyValue};
  Recall all;
  const int64_t parts = random.between(2, 4);
  for (int64_t i = 0; i < parts; ++i) append(make_recall(random.pick(kParts), entries, used, random), all);
  random.shuffle(all.planted);
  return all;
}

}  // namespace

SampleMaker::SampleMaker(std::shared_ptr<const Tokenizer> tokenizer, const MakeDataOptions& options)
    : tokenizer_(std::move(tokenizer)), options_(options), library_(options.books) {
  check(options_);
  const auto indexes = overlapping(library_, options_.exclude);
  for (const size_t i : indexes) left_out_.push_back(library_.books()[i].name);
  library_.remove(indexes);
}

MadeSample SampleMaker::make(int64_t index) const {
  Random random(options_.seed, {static_cast<uint64_t>(index)});
  const bool with_questions = random.unit() < options_.recall;
  const Task task = with_questions ? random.pick(options_.tasks) : Task::kContinue;
  const double low = std::log(static_cast<double>(options_.min_length));
  const double high = std::log(static_cast<double>(options_.max_length));
  for (int tries = 0; tries < 20; ++tries) {
    const auto tokens = static_cast<int64_t>(std::exp(low + (high - low) * random.unit()));
    MadeSample sample;
    if (!with_questions)
      sample = prose(tokens, random);
    else if (task == Task::kReconstruct)
      sample = reconstruct(tokens, random);
    else
      sample = recall(task, tokens, random);
    sample.task = with_questions ? to_string(task) : "prose";
    // A sentence longer than all that was asked for, or a passage without a question in it: another place
    // will do.
    const bool asks = !with_questions || !sample.example.messages.empty() || !sample.example.output.empty();
    if (asks && sample.tokens <= options_.max_length) return sample;
  }
  fail(ErrorCode::kInvalidArgument, "no sample of the task {} within {} tokens could be made of these books",
       to_string(task), options_.max_length);
}

MadeSample SampleMaker::prose(int64_t tokens, Random& random) const {
  const Passage passage = draw_passage(library_, *tokenizer_, tokens - 1, random);
  MadeSample sample;
  sample.book = passage.book;
  sample.example.text = passage.text();
  sample.tokens = count_tokens(*tokenizer_, sample.example.text);
  return sample;
}

MadeSample SampleMaker::recall(Task task, int64_t tokens, Random& random) const {
  UsedWords used;
  const int64_t entries = task == Task::kDense ? std::max<int64_t>(2, tokens / kTokensPerThing)
                                               : std::clamp<int64_t>(tokens / 3 / kTokensPerEntry, 4, 200);
  Recall recall;
  if (task == Task::kSeveral)
    recall = several(std::min<int64_t>(entries, 30), used, random);
  else if (task != Task::kContinue)
    recall = make_recall(task, entries, used, random);
  int64_t taken = kReserve;
  for (const std::string& text : recall.planted) taken += count_tokens(*tokenizer_, text) + 2;
  for (const Question& q : recall.questions) taken += count_tokens(*tokenizer_, q.ask + "\n" + q.answer) + 8;
  const bool continues = task == Task::kContinue || (task == Task::kSeveral && random.below(2) == 0);
  if (continues) taken += 2 * kReserve;
  const Passage passage = draw_passage(library_, *tokenizer_, std::max<int64_t>(1, tokens - taken), random);
  std::optional<size_t> closed;
  if (continues) {
    if (auto follow = ask_what_follows(passage, random)) {
      closed = follow->sentence;
      recall.questions.push_back(std::move(follow->question));
    }
  }
  random.shuffle(recall.questions);
  return ask(plant(passage, recall.planted, closed, random), recall.questions, passage.book, random);
}

// Either the text is longer than a window, so that each of its words is further back than any raw token when
// it is to be written again; or another text of a window stands between.
MadeSample SampleMaker::reconstruct(int64_t tokens, Random& random) const {
  static const Words kLong = {"Repeat the text word for word.",
                              "Write the text down again, exactly as it was.",
                              "Now recite the text from its beginning.", "Copy the text above."};
  static const Words kShort = {"Repeat the first text word for word.",
                               "Write the first text down again, exactly.",
                               "Recite the first of the two texts.", "Copy the first text."};
  const int64_t window = options_.window;
  const int64_t room = std::min(tokens, options_.max_length) - kReserve;
  const bool alone = random.below(2) == 0 && room / 2 >= window;
  if (alone) {
    const int64_t length = random.between(window, std::min(2 * window, room / 2));
    const Passage passage = draw_passage(library_, *tokenizer_, length, random);
    const std::string text = passage.text();
    return ask(text, {{std::string(random.pick(kLong)), text}}, passage.book, random);
  }
  const int64_t most = std::min(window, (room - window) / 2);
  require(most >= 16, ErrorCode::kInvalidArgument,
          "a text and another of {} tokens behind it do not fit into {}; make longer samples or the window "
          "smaller",
          window, room);
  const Passage first =
      draw_passage(library_, *tokenizer_, random.between(std::max<int64_t>(16, most / 4), most), random);
  // A sentence more than a window.
  const Passage second = draw_passage(library_, *tokenizer_, window + kReserve / 2, random);
  const std::string text = first.text();
  return ask(fmt::format("First text:\n{}\n\nSecond text:\n{}", text, second.text()),
             {{std::string(random.pick(kShort)), text}}, first.book, random);
}

MadeSample SampleMaker::ask(std::string text, const std::vector<Question>& questions, const std::string& book,
                            Random& random) const {
  static const Words kOpenings = {"",
                                  "",
                                  "Read the following text.\n\n",
                                  "Here is a text.\n\n",
                                  "Read this carefully; you will be asked about it.\n\n",
                                  "Text:\n"};
  static const Words kBridges = {"\n\n", "\n\nQuestion: ", "\n\nNow answer: ", "\n\n---\n\n"};
  MadeSample sample;
  sample.book = book;
  if (questions.empty()) return sample;
  std::string first(random.pick(kOpenings));
  first += text;
  first += random.pick(kBridges);
  first += questions[0].ask;
  sample.tokens = count_tokens(*tokenizer_, first);
  for (size_t i = 0; i < questions.size(); ++i)
    sample.tokens += count_tokens(*tokenizer_, questions[i].answer) +
                     (i > 0 ? count_tokens(*tokenizer_, questions[i].ask) : 0);
  if (options_.pairs) {
    sample.example.kind = ExampleKind::kPair;
    sample.example.input = std::move(first);
    sample.example.output = questions[0].answer;
    return sample;
  }
  sample.example.kind = ExampleKind::kConversation;
  for (size_t i = 0; i < questions.size(); ++i) {
    sample.example.messages.push_back({"user", i == 0 ? first : questions[i].ask});
    sample.example.messages.push_back({"assistant", questions[i].answer});
  }
  return sample;
}

std::string to_json_line(const MadeSample& sample) {
  OrderedJson json;
  const Example& example = sample.example;
  switch (example.kind) {
    case ExampleKind::kText:
      json["text"] = example.text;
      break;
    case ExampleKind::kPair:
      json["input"] = example.input;
      json["output"] = example.output;
      break;
    case ExampleKind::kConversation:
      for (const ChatMessage& message : example.messages)
        json["conversations"].push_back({{"role", message.role}, {"content", message.content}});
      break;
  }
  json["task"] = sample.task;
  json["book"] = sample.book;
  json["tokens"] = sample.tokens;
  return json.dump(-1, ' ', /*ensure_ascii=*/false, OrderedJson::error_handler_t::replace) + "\n";
}

MadeData write_samples(const SampleMaker& maker, int64_t samples, const std::filesystem::path& path,
                       const std::function<bool(int64_t done)>& progress) {
  AtomicFile file(path);
  MadeData made;
  for (int64_t i = 0; i < samples; ++i) {
    const MadeSample sample = maker.make(i);
    const std::string line = to_json_line(sample);
    file.write(std::as_bytes(std::span(line)));
    ++made.samples;
    ++made.tasks[sample.task];
    made.tokens += sample.tokens;
    require(!progress || progress(i + 1), ErrorCode::kCancelled,
            "stopped after {} of {} samples; nothing was written", i + 1, samples);
  }
  file.commit();
  return made;
}

}  // namespace beacon::train
