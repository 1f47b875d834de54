// How documents become samples.
#include "train/data/dataset.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <set>

#include "data_fixture.h"
#include "io/json_reader.h"
#include "window/labels.h"

namespace beacon::train {
namespace {

using beacon::testing::bos_tokenizer;
using beacon::testing::bpe_tokenizer;
using beacon::testing::DataFolder;
using ::testing::Each;
using ::testing::ElementsAre;

std::string words(int count, int from = 0) {
  std::string text;
  for (int i = from; i < from + count; ++i) text += "word" + std::to_string(i) + " ";
  return text;
}

std::string text_line(const std::string& text) { return Json({{"text", text}}).dump() + "\n"; }

std::string chat_line(const std::string& question, const std::string& answer) {
  return Json({{"conversations",
                {{{"role", "user"}, {"content", question}}, {{"role", "assistant"}, {"content", answer}}}}})
             .dump() +
         "\n";
}

DatasetOptions options_for(const DataFolder& folder, const std::vector<std::filesystem::path>& paths) {
  DatasetOptions options;
  for (const auto& path : paths) options.sources.push_back({path});
  options.cache_folder = folder.cache();
  return options;
}

std::vector<int32_t> joined(const Dataset& dataset, size_t skip = 0) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Sample sample = dataset.at(i);
    ids.insert(ids.end(), sample.ids.begin() + (i > 0 ? static_cast<ptrdiff_t>(skip) : 0), sample.ids.end());
  }
  return ids;
}

std::vector<int64_t> lengths(const Dataset& dataset) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    out.push_back(dataset.length(i));
    EXPECT_EQ(static_cast<int64_t>(dataset.at(i).ids.size()), out.back());
    EXPECT_EQ(dataset.at(i).labels.size(), dataset.at(i).ids.size());
  }
  return out;
}

TEST(Dataset, LongTextsAreCutAndNothingIsLost) {
  const DataFolder folder;
  const auto tokenizer = bpe_tokenizer();
  const Encoder encoder(tokenizer, "");
  DatasetOptions options = options_for(folder, {folder.write("book.txt", words(300))});
  options.max_length = 100;
  const Dataset dataset(options, encoder);
  auto expected = tokenizer->encode(words(300));
  expected.push_back(tokenizer->eos_ids().front());
  EXPECT_EQ(joined(dataset), expected);
  const auto sizes = lengths(dataset);
  EXPECT_THAT(std::vector<int64_t>(sizes.begin(), sizes.end() - 1), Each(100));
  EXPECT_EQ(dataset.at(1).labels, dataset.at(1).ids);
  EXPECT_EQ(dataset.at(1).source, "book.txt");
  EXPECT_EQ(dataset.parts()[0].tokens, static_cast<int64_t>(expected.size()));
  EXPECT_EQ(dataset.parts()[0].scored_tokens, static_cast<int64_t>(expected.size()));

  options.min_length = 100;  // the rest is too short now
  const Dataset whole(options, encoder);
  EXPECT_EQ(whole.size(), dataset.size() - 1);
  EXPECT_EQ(whole.parts()[0].dropped_short, 1);
  options.long_text = LongText::kTruncate;
  const Dataset first(options, encoder);
  EXPECT_EQ(first.size(), 1);
  EXPECT_EQ(first.at(0).ids, dataset.at(0).ids);
  options.long_text = LongText::kDrop;
  EXPECT_THROW(Dataset(options, encoder), Error);
}

TEST(Dataset, CutTextsBeginWithTheTokenEveryTextHas) {
  const DataFolder folder;
  const auto tokenizer = bos_tokenizer();
  const Encoder encoder(tokenizer, "");
  DatasetOptions options = options_for(folder, {folder.write("book.txt", words(60))});
  options.max_length = 64;
  const Dataset dataset(options, encoder);
  ASSERT_GT(dataset.size(), 3);
  for (int64_t i = 0; i < dataset.size(); ++i) EXPECT_EQ(dataset.at(i).ids[0], tokenizer->bos_id());
  EXPECT_EQ(dataset.at(1).labels[0], kIgnoredLabel);
  EXPECT_EQ(dataset.length(1), 64);
  auto expected = tokenizer->encode(words(60));
  expected.push_back(tokenizer->eos_ids().front());
  EXPECT_EQ(joined(dataset, 1), expected);
}

TEST(Dataset, PackedTextsFillEverySample) {
  const DataFolder folder;
  const auto tokenizer = bpe_tokenizer();
  const Encoder encoder(tokenizer, "chatml");
  const std::string lines = text_line(words(7)) + text_line(words(9, 20)) + text_line(words(30, 40)) +
                            chat_line("q", "a") + text_line(words(5, 90));
  DatasetOptions options = options_for(folder, {folder.write("x.jsonl", lines)});
  options.pack = true;
  options.max_length = 50;
  options.min_length = 1;
  const Dataset dataset(options, encoder);
  const auto sizes = lengths(dataset);
  EXPECT_EQ(sizes[0], 50);
  EXPECT_EQ(sizes[1], 50);
  std::vector<int32_t> expected;
  for (const auto& text : {words(7), words(9, 20), words(30, 40)}) {
    const auto ids = tokenizer->encode(text);
    expected.insert(expected.end(), ids.begin(), ids.end());
    expected.push_back(tokenizer->eos_ids().front());
  }
  const auto all = joined(dataset);
  EXPECT_EQ(std::vector<int32_t>(all.begin(), all.begin() + static_cast<ptrdiff_t>(expected.size())),
            expected);
  EXPECT_EQ(dataset.at(0).source, "x.jsonl:1");
  // The conversation stands alone, with its answer alone learnt.
  bool found = false;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (dataset.at(i).source != "x.jsonl:4") continue;
    found = true;
    std::vector<int32_t> learnt;
    for (const int32_t label : dataset.at(i).labels)
      if (label != kIgnoredLabel) learnt.push_back(label);
    EXPECT_EQ(tokenizer->decode(learnt), "a<|im_end|>");
  }
  EXPECT_TRUE(found);
}

TEST(Dataset, LongDialoguesAreDroppedOrLoseTheirMiddle) {
  const DataFolder folder;
  const auto tokenizer = bpe_tokenizer();
  const Encoder encoder(tokenizer, "chatml");
  const std::string question = words(100);
  DatasetOptions options = options_for(
      folder, {folder.write("x.jsonl", chat_line(question, "The answer") + chat_line("q", words(80)) +
                                           chat_line("short", "yes"))});
  options.max_length = 120;
  const Dataset dropping(options, encoder);
  EXPECT_EQ(dropping.size(), 1);
  EXPECT_EQ(dropping.parts()[0].dropped_long, 2);
  options.long_dialogue = LongDialogue::kShorten;
  const Dataset dataset(options, encoder);
  ASSERT_EQ(dataset.size(), 2);  // of the second the answer itself is too long
  EXPECT_EQ(dataset.parts()[0].dropped_long, 1);
  const Sample sample = dataset.at(0);
  EXPECT_EQ(sample.ids.size(), 120u);
  const std::vector<ChatMessage> messages = {{"user", question}, {"assistant", "The answer"}};
  const auto whole = encode_chat(*tokenizer, "chatml", messages, false);
  // Both ends are as they were.
  size_t head = 0, tail = 0;
  while (head < 120 && sample.ids[head] == whole[head]) ++head;
  while (tail < 120 && sample.ids[119 - tail] == whole[whole.size() - 1 - tail]) ++tail;
  EXPECT_GE(head + tail, 120u);
  EXPECT_GT(head, 40u);
  EXPECT_GT(tail, 40u);
  std::vector<int32_t> learnt;
  for (size_t t = 0; t < 120; ++t) {
    if (sample.labels[t] == kIgnoredLabel) continue;
    EXPECT_EQ(sample.labels[t], sample.ids[t]);
    learnt.push_back(sample.labels[t]);
  }
  EXPECT_EQ(tokenizer->decode(learnt), "The answer<|im_end|>");
}

TEST(Dataset, MixesAndLimits) {
  const DataFolder folder;
  const Encoder encoder(bpe_tokenizer(), "");
  std::string many;
  for (int i = 0; i < 40; ++i) many += text_line("Line " + std::to_string(i));
  DatasetOptions options =
      options_for(folder, {folder.write("many.jsonl", many), folder.write("one.txt", "One.")});
  options.sources[0].limit = 10;
  options.sources[1].weight = 3;
  const Dataset dataset(options, encoder);
  ASSERT_EQ(dataset.size(), 11);
  ASSERT_EQ(dataset.parts().size(), 2u);
  EXPECT_EQ(dataset.parts()[0].end, 10);
  EXPECT_EQ(dataset.parts()[0].over_limit, 30);
  EXPECT_EQ(dataset.parts()[1].begin, 10);
  EXPECT_DOUBLE_EQ(dataset.parts()[1].weight, 3);
  EXPECT_EQ(dataset.at(10).source, "one.txt");
  std::set<std::string> sources;
  for (int64_t i = 0; i < 10; ++i) sources.insert(dataset.at(i).source);
  EXPECT_EQ(sources.size(), 10u);
  // The choice follows the seed, and so does the fingerprint.
  const Dataset again(options, encoder);
  EXPECT_EQ(again.fingerprint(), dataset.fingerprint());
  EXPECT_EQ(again.at(3).source, dataset.at(3).source);
  options.seed = 7;
  const Dataset other(options, encoder);
  EXPECT_NE(other.fingerprint(), dataset.fingerprint());
}

TEST(Dataset, Refusals) {
  const DataFolder folder;
  const Encoder encoder(bpe_tokenizer(), "");
  DatasetOptions options = options_for(folder, {folder.write("x.txt", "One.")});
  options.min_length = 10;
  EXPECT_THROW(Dataset(options, encoder), Error);  // nothing is left
  options.max_length = 5;
  EXPECT_THROW(Dataset(options, encoder), Error);
  options.min_length = 0;
  EXPECT_THROW(Dataset(options, encoder), Error);
  EXPECT_THROW(Dataset({}, encoder), Error);
  EXPECT_THROW(long_text_from_string("keep"), Error);
  EXPECT_THROW(long_dialogue_from_string("cut"), Error);
}

}  // namespace
}  // namespace beacon::train
