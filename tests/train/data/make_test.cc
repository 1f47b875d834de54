// Samples made of books: the same every time, as long as asked for, and with answers that stand in the text.
#include <beacon/error.h>
#include <gmock/gmock.h>

#include <set>

#include "data_fixture.h"
#include "io/json_lines.h"
#include "train/data/make/make_data.h"
#include "train/data/make/overlap.h"
#include "train/data/make/passage.h"
#include "train/data/make/wording.h"

namespace beacon::train {
namespace {

using beacon::testing::bpe_tokenizer;
using beacon::testing::DataFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Sentences of made-up words, none of them twice; paragraphs of five.
std::string prose(int sentences, uint64_t seed) {
  Random random(seed);
  std::string text;
  for (int s = 0; s < sentences; ++s) {
    text += "Sentence" + std::to_string(seed) + "x" + std::to_string(s);
    for (int w = 0; w < 9; ++w) {
      text += ' ';
      for (int64_t c = random.between(3, 8); c > 0; --c) text += static_cast<char>('a' + random.below(26));
    }
    text += s % 5 == 4 ? ".\n\n" : ". ";
  }
  return text;
}

std::vector<std::string> sentences(std::string_view text) {
  std::vector<std::string> out;
  size_t at = 0;
  for (auto span = next_sentence(text, 0); span.begin < span.end; span = next_sentence(text, at)) {
    out.emplace_back(text.substr(span.begin, span.end - span.begin));
    at = span.end;
  }
  return out;
}

TEST(Sentences, EndWhereAReaderWouldEndThem) {
  EXPECT_THAT(
      sentences(
          "  One two. Three?! \"Four!\" he said. He came\nA title\n\nMr. J. Smith said: \"Go.\" (Yes.) End"),
      ElementsAre("One two.", "Three?!", "\"Four!\" he said.", "He came", "A title",
                  "Mr. J. Smith said: \"Go.\"", "(Yes.)", "End"));
  EXPECT_THAT(sentences("3.5 miles... and more. \xE2\x80\x9CNo\xE2\x80\x9D, he said."),
              ElementsAre("3.5 miles... and more.", "\xE2\x80\x9CNo\xE2\x80\x9D, he said."));
  EXPECT_TRUE(sentences(" \n \n").empty());
}

TEST(Overlap, SeesCopiesThroughQuotingAndCase) {
  const std::string original = prose(40, 1);
  const OverlapFilter filter(original);
  EXPECT_DOUBLE_EQ(filter.share(original), 1);
  std::string shouted = original;
  for (char& c : shouted) c = c == '.' ? '!' : static_cast<char>(std::toupper(c));
  EXPECT_DOUBLE_EQ(filter.share(shouted), 1);
  EXPECT_DOUBLE_EQ(filter.share(prose(40, 2)), 0);
  const double half = filter.share(prose(200, 2) + original);
  EXPECT_GT(half, kMostOverlap);
  EXPECT_LT(half, 0.3);
  EXPECT_DOUBLE_EQ(filter.share("eleven words are not enough to be a run of the filter"), 0);
}

TEST(Passage, IsAStretchOfTheBook) {
  const DataFolder folder;
  const std::string text = prose(300, 3);
  const Library library({folder.write("book.txt", text)});
  const auto tokenizer = bpe_tokenizer();
  std::set<std::string> starts;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const Passage passage = draw_passage(library, *tokenizer, 500, random);
    EXPECT_NE(text.find(passage.text()), std::string::npos);
    EXPECT_LE(count_tokens(*tokenizer, passage.text()), 505);
    EXPECT_GT(count_tokens(*tokenizer, passage.text()), 400);
    starts.insert(passage.sentences[0].text);
  }
  EXPECT_GT(starts.size(), 15u);
}

TEST(Passage, PlantedTextsStandBetweenSentences) {
  Passage passage;
  passage.sentences = {{"One.", ""}, {"Two.", " "}, {"Three.", "\n\n"}};
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    const std::string text = plant(passage, {"A", "B"}, std::nullopt, random);
    EXPECT_LT(text.find('A'), text.find('B'));
    std::string rest;
    for (const char c : text)
      if (c != 'A' && c != 'B' && c != ' ' && c != '\n') rest += c;
    EXPECT_EQ(rest, "One.Two.Three.");
    seen.insert(text);
    const std::string closed = plant(passage, {"A"}, size_t{0}, random);
    EXPECT_THAT(closed, HasSubstr("One. Two."));
  }
  EXPECT_GT(seen.size(), 20u);
}

class MakeData : public ::testing::Test {
 protected:
  MakeData() {
    for (uint64_t b = 0; b < 3; ++b) folder_.write("books/" + std::to_string(b) + ".txt", prose(900, 10 + b));
    options_.books = {folder_.path() / "books"};
    options_.min_length = 600;
    options_.max_length = 3000;
    options_.window = 128;
    options_.recall = 1;
  }

  DataFolder folder_;
  MakeDataOptions options_;
};

TEST_F(MakeData, SamplesAreTheSameEveryTimeAndDoNotDependOnEachOther) {
  options_.recall = 0.7;
  const SampleMaker maker(bpe_tokenizer(), options_);
  const auto write = [&](int64_t count, const std::string& name) {
    write_samples(maker, count, folder_.path() / name);
    std::ifstream in(folder_.path() / name, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  const std::string twenty = write(20, "a.jsonl");
  EXPECT_EQ(write(20, "b.jsonl"), twenty);
  EXPECT_EQ(twenty.substr(0, write(7, "c.jsonl").size()), write(7, "c.jsonl"));
  options_.seed = 2;
  EXPECT_NE(to_json_line(SampleMaker(bpe_tokenizer(), options_).make(0)), to_json_line(maker.make(0)));
}

TEST_F(MakeData, EveryLineIsReadBackAndFits) {
  options_.recall = 0.8;
  const auto tokenizer = bpe_tokenizer();
  const SampleMaker maker(tokenizer, options_);
  const MadeData made = write_samples(maker, 120, folder_.path() / "x.jsonl");
  EXPECT_EQ(made.samples, 120);
  EXPECT_EQ(made.tasks.size(), all_tasks().size() + 1);
  std::ifstream in(folder_.path() / "x.jsonl", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Encoder encoder(tokenizer, "chatml");
  int lines = 0;
  for_each_json_line(text, [&](const JsonLine& line) {
    EXPECT_NE(line.object, nullptr) << line.error;
    const EncodedExample encoded = encoder.encode(parse_example(*line.object, "x"));
    EXPECT_LE(static_cast<int64_t>(encoded.ids.size()), options_.max_length + 200);  // the template's tokens
    EXPECT_FALSE(encoded.runs.empty());
    ++lines;
    return true;
  });
  EXPECT_EQ(lines, 120);
}

// What is learnt is the answers and nothing else, and everything in an answer can be read in the text before
// it.
TEST_F(MakeData, LabelsCoverExactlyTheAnswers) {
  const auto tokenizer = bpe_tokenizer();
  const Encoder encoder(tokenizer, "chatml");
  for (const Task task : all_tasks()) {
    options_.tasks = {task};
    const SampleMaker maker(tokenizer, options_);
    std::set<std::string> wordings;
    for (int64_t i = 0; i < 25; ++i) {
      const MadeSample sample = maker.make(i);
      SCOPED_TRACE(to_json_line(sample));
      EXPECT_EQ(sample.task, to_string(task));
      const auto& messages = sample.example.messages;
      ASSERT_GE(messages.size(), 2u);
      const EncodedExample encoded = encoder.encode(sample.example);
      ASSERT_EQ(encoded.runs.size(), messages.size() / 2);
      for (size_t q = 0; q < encoded.runs.size(); ++q) {
        const ScoredRun run = encoded.runs[q];
        EXPECT_EQ(tokenizer->decode(std::span(encoded.ids).subspan(run.begin, run.end - run.begin)),
                  messages[2 * q + 1].content + "<|im_end|>");
        EXPECT_EQ(messages[2 * q].role, "user");
        EXPECT_EQ(messages[2 * q + 1].role, "assistant");
      }
      wordings.insert(messages[0].content.substr(messages[0].content.rfind('\n')));
    }
    if (task != Task::kReconstruct) {
      EXPECT_GT(wordings.size(), 15u) << to_string(task);
    }
  }
}

std::string digits_of(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c >= '0' && c <= '9') out += c;
  return out;
}

TEST_F(MakeData, AnswersStandInTheText) {
  const SampleMaker maker(bpe_tokenizer(), options_);
  int passkeys = 0, follows = 0, copies = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const MadeSample sample = maker.make(i);
    SCOPED_TRACE(to_json_line(sample));
    const std::string& text = sample.example.messages[0].content;
    const std::string& answer = sample.example.messages[1].content;
    if (sample.task == "passkey") {
      ++passkeys;
      const std::string value = digits_of(answer);
      EXPECT_GE(value.size(), 2u);
      EXPECT_THAT(text, HasSubstr(value));
    } else if (sample.task == "continue") {
      ++follows;
      // The sentence asked about stands in the text, and behind it, at once, the answer.
      const size_t at = text.find(answer);
      ASSERT_NE(at, std::string::npos);
      size_t before = at;
      while (before > 0 && (text[before - 1] == ' ' || text[before - 1] == '\n')) --before;
      const size_t start = text.rfind("Sentence", before);
      EXPECT_NE(text.find(text.substr(start, before - start), at), std::string::npos);
    } else if (sample.task == "reconstruct") {
      ++copies;
      const size_t at = text.find(answer);
      ASSERT_NE(at, std::string::npos);
      // Every word of it is more than a window back when it is to be written again.
      const auto tokenizer = bpe_tokenizer();
      EXPECT_GE(count_tokens(*tokenizer, text.substr(at)), options_.window);
    } else if (sample.task == "key-value") {
      EXPECT_THAT(text, HasSubstr(digits_of(answer)));
    }
  }
  EXPECT_GT(passkeys, 10);
  EXPECT_GT(follows, 10);
  EXPECT_GT(copies, 10);
}

// Many things are planted, each is asked for once, and what identifies it is planted once.
TEST_F(MakeData, DenseTextsAreAskedForAllTheyHold) {
  options_.tasks = {Task::kDense};
  options_.min_length = options_.max_length = 3000;
  const SampleMaker maker(bpe_tokenizer(), options_);
  for (int64_t i = 0; i < 20; ++i) {
    const MadeSample sample = maker.make(i);
    SCOPED_TRACE(to_json_line(sample));
    EXPECT_GE(sample.example.messages.size(), 2u * 24);
    EXPECT_GT(sample.tokens, 2000);
    const std::string& text = sample.example.messages[0].content;
    std::set<std::string> asked;
    for (size_t q = 0; q < sample.example.messages.size(); q += 2) {
      const std::string& question = sample.example.messages[q].content;
      asked.insert(question.substr(question.rfind('\n') + 1));
      EXPECT_THAT(text, HasSubstr(digits_of(sample.example.messages[q + 1].content)));
    }
    EXPECT_EQ(asked.size(), sample.example.messages.size() / 2);
  }
}

// Half of the texts have numbers of one kind: then nothing but their owners tells them apart, and all have
// one.
TEST_F(MakeData, DenseTextsOfOneKindNameAnOwnerForEach) {
  options_.tasks = {Task::kDense};
  options_.min_length = options_.max_length = 3000;
  const SampleMaker maker(bpe_tokenizer(), options_);
  int of_one_kind = 0;
  for (int64_t i = 0; i < 40; ++i) {
    const MadeSample sample = maker.make(i);
    SCOPED_TRACE(to_json_line(sample));
    std::set<std::string_view> kinds;
    int asked = 0, owned = 0;
    for (size_t q = 0; q < sample.example.messages.size(); q += 2) {
      const std::string& question = sample.example.messages[q].content;
      for (const std::string_view kind : secret_kinds()) {
        const size_t at = question.find(kind, question.rfind('\n') + 1);
        if (at == std::string::npos) continue;
        ++asked;
        kinds.insert(kind);
        owned += question.substr(at + kind.size(), 4) == " of " ? 1 : 0;
        break;
      }
    }
    ASSERT_GT(asked, 1);
    if (kinds.size() > 1) continue;
    ++of_one_kind;
    EXPECT_EQ(owned, asked);
  }
  EXPECT_GT(of_one_kind, 8);
  EXPECT_LT(of_one_kind, 32);
}

TEST_F(MakeData, DepthsAreSpreadOverTheText) {
  options_.tasks = {Task::kPasskey};
  const SampleMaker maker(bpe_tokenizer(), options_);
  int quarters[4] = {};
  for (int64_t i = 0; i < 200; ++i) {
    const MadeSample sample = maker.make(i);
    const std::string& text = sample.example.messages[0].content;
    const size_t at = text.find(digits_of(sample.example.messages[1].content));
    ++quarters[std::min<size_t>(3, 4 * at / text.size())];
  }
  // 50 each with a deviation of 6: four of them either way.
  for (const int count : quarters) EXPECT_NEAR(count, 50, 25);
}

TEST_F(MakeData, ExcludedBooksAreLeftOut) {
  std::ifstream in(folder_.path() / "books/1.txt");
  const std::string book{std::istreambuf_iterator<char>(in), {}};
  options_.exclude = {
      folder_.write("held/test.json", "{\"context\": \"" + book.substr(500, 4000) + "\"}").parent_path()};
  const SampleMaker maker(bpe_tokenizer(), options_);
  EXPECT_THAT(maker.left_out(), ElementsAre("1.txt"));
  for (int64_t i = 0; i < 60; ++i) EXPECT_NE(maker.make(i).book, "1.txt");
  options_.books = {folder_.path() / "books/1.txt"};
  EXPECT_THROW(SampleMaker(bpe_tokenizer(), options_), Error);
}

TEST_F(MakeData, PairsHaveNoChat) {
  options_.pairs = true;
  const SampleMaker maker(bpe_tokenizer(), options_);
  for (int64_t i = 0; i < 20; ++i) {
    const MadeSample sample = maker.make(i);
    EXPECT_EQ(sample.example.kind, ExampleKind::kPair);
    EXPECT_FALSE(sample.example.input.empty());
    EXPECT_FALSE(sample.example.output.empty());
  }
}

TEST_F(MakeData, Refusals) {
  const auto refused = [&](const std::function<void(MakeDataOptions&)>& spoil) {
    MakeDataOptions options = options_;
    spoil(options);
    EXPECT_THROW(SampleMaker(bpe_tokenizer(), options).make(0), Error);
  };
  refused([](auto& o) { o.recall = 1.5; });
  refused([](auto& o) { o.tasks.clear(); });
  refused([](auto& o) { o.min_length = 4000; });
  refused([](auto& o) { o.window = 4000; });
  refused([](auto& o) { o.samples = 0; });
  refused([](auto& o) { o.min_length = o.max_length = 1 << 20; });  // no book is that long
  refused([&](auto& o) { o.books = {folder_.path() / "nowhere"}; });
  EXPECT_THROW(task_from_string("some"), Error);
  const SampleMaker maker(bpe_tokenizer(), options_);
  EXPECT_THROW(write_samples(maker, 5, folder_.path() / "x.jsonl", [](int64_t done) { return done < 2; }),
               Error);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "x.jsonl"));
}

}  // namespace
}  // namespace beacon::train
