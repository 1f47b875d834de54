#include "train/config.h"

#include <gmock/gmock.h>

#include <set>

#include "ops/tensor_check.h"
#include "train/learner.h"

namespace beacon {
namespace {

using beacon::testing::expect_error;

TrainConfig complete() {
  TrainConfig c;
  c.model = "model";
  c.run = "run";
  c.data = {"books", "chat.jsonl[100]*2"};
  return c;
}

const ConfigField& field(const std::string& key) {
  for (const ConfigField& f : config_fields()) {
    if (key == f.key) return f;
  }
  throw std::runtime_error(key);
}

TEST(ConfigTest, IsReadBackAsWritten) {
  TrainConfig c = complete();
  c.gate = -4;
  c.ratio_weights = {5, 5, 2, 2, 1};
  c.learning_rate = 3e-4;
  c.pack = true;
  c.parameters = {"q", "o"};
  c.lora_rank = 4;
  c.lora_targets = {"k"};
  EXPECT_TRUE(parse_train_config(to_json(c), "test") == c);
  EXPECT_TRUE(parse_train_config("{}", "test") == TrainConfig());
}

TEST(ConfigTest, KeysAreUnique) {
  std::set<std::string> keys;
  for (const ConfigField& f : config_fields()) EXPECT_TRUE(keys.insert(f.key).second) << f.key;
}

TEST(ConfigTest, FieldsAreSetFromText) {
  TrainConfig c;
  set_field(c, field("ratios"), "2,4,128");
  set_field(c, field("gate"), "-2.5");
  set_field(c, field("pack"), "true");
  set_field(c, field("learning_rate"), "5e-5");
  set_field(c, field("data"), "a,b c");
  EXPECT_THAT(c.ratios, ::testing::ElementsAre(2, 4, 128));
  EXPECT_EQ(c.gate, -2.5);
  EXPECT_TRUE(c.pack);
  EXPECT_EQ(c.learning_rate, 5e-5);
  EXPECT_THAT(c.data, ::testing::ElementsAre("a", "b c"));
  set_field(c, field("gate"), "none");
  set_field(c, field("data"), "");
  EXPECT_FALSE(c.gate.has_value());
  EXPECT_TRUE(c.data.empty());
}

TEST(ConfigTest, WrongTextsAreRefused) {
  const std::pair<const char*, const char*> wrong[] = {{"window", "1.5"}, {"window", "0"},  {"window", "x"},
                                                       {"window", ""},    {"pack", "yes"},  {"clip", "-1"},
                                                       {"ratios", "2,x"}, {"gate", "many"}, {"beta1", "1.5"}};
  for (const auto& [key, text] : wrong) {
    TrainConfig c;
    expect_error(ErrorCode::kInvalidArgument, key,
                 [&, key = key, text = text] { set_field(c, field(key), text); });
  }
}

TEST(ConfigTest, WrongFilesAreRefused) {
  const std::pair<const char*, const char*> wrong[] = {{R"({"windw": 4})", "windw"},
                                                       {R"({"window": "4"})", "window"},
                                                       {R"({"window": 0})", "window"},
                                                       {R"({"ratios": [2, -1]})", "ratio"},
                                                       {R"({"pack": 1})", "pack"},
                                                       {R"({"data": [1]})", "data"},
                                                       {R"([])", "test"},
                                                       {R"({"beta1": 2})", "beta1"},
                                                       {R"({"pack": true)", "test"}};
  for (const auto& [json, word] : wrong) {
    expect_error(ErrorCode::kBadFile, word, [json = json] { parse_train_config(json, "test"); });
  }
}

TEST(ConfigTest, ContradictionsAreRefused) {
  validate(complete());
  const auto expect_refused = [](const char* word, const std::function<void(TrainConfig&)>& change) {
    TrainConfig c = complete();
    change(c);
    expect_error(ErrorCode::kInvalidArgument, word, [&] { validate(c); });
  };
  expect_refused("model", [](TrainConfig& c) { c.model.clear(); });
  expect_refused("run", [](TrainConfig& c) { c.run.clear(); });
  expect_refused("data", [](TrainConfig& c) { c.data.clear(); });
  expect_refused("max_length", [](TrainConfig& c) { c.max_length = c.min_length - 1; });
  expect_refused("parameters", [](TrainConfig& c) { c.parameters = {"q", "x"}; });
  expect_refused("lora_targets", [](TrainConfig& c) { c.lora_targets = {"up"}; });
  expect_refused("lora_targets", [](TrainConfig& c) {
    c.lora_rank = 8;
    c.lora_targets.clear();
  });
  expect_refused("lora_alpha", [](TrainConfig& c) {
    c.lora_rank = 8;
    c.lora_alpha = 0;
  });
  expect_refused("ratio_weights", [](TrainConfig& c) { c.ratio_weights = {1}; });
  expect_refused("next_token_weight", [](TrainConfig& c) { c.next_token_weight = 0; });
  expect_refused("schedule", [](TrainConfig& c) { c.schedule = "steep"; });
  expect_refused("reset_gate", [](TrainConfig& c) { c.reset_gate = true; });
  expect_refused("warmup", [](TrainConfig& c) {
    c.steps = 10;
    c.warmup = 11;
  });
  expect_refused("placement", [](TrainConfig& c) { c.placement = "middle"; });
}

TEST(ConfigTest, LoraIsOffUntilItHasARank) {
  TrainConfig c = complete();
  EXPECT_FALSE(trained_lora(c).has_value());
  c.lora_rank = 8;
  // The original's: alpha 16 on all four.
  EXPECT_EQ(trained_lora(c),
            (LoraConfig{.rank = 8, .alpha = 16, .q = true, .k = true, .v = true, .o = true}));
  c.lora_targets = {"v"};
  EXPECT_EQ(trained_lora(c), (LoraConfig{.rank = 8, .alpha = 16, .v = true}));
}

// What is shipped can be run once its files are there.
TEST(ConfigTest, ShippedConfigurationsAreValid) {
  int found = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(BEACON_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path().string());
    ++found;
    const TrainConfig c = load_train_config(entry.path());
    EXPECT_NO_THROW(validate(c));
    EXPECT_NO_THROW(training_window(c));
    EXPECT_TRUE(std::filesystem::path(c.model).is_absolute());
    EXPECT_TRUE(parse_train_config(to_json(c), "test") == c);
  }
  EXPECT_GE(found, 12);
}

TEST(ConfigTest, WeightsRepeatRatios) {
  TrainConfig c = complete();
  c.ratios = {2, 8};
  c.ratio_weights = {3, 1};
  EXPECT_THAT(training_window(c).ratio.ratios, ::testing::ElementsAre(2, 2, 2, 8));
}

}  // namespace
}  // namespace beacon
