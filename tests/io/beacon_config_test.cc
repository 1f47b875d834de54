#include "io/beacon_config.h"

#include <nlohmann/json.hpp>

#include "io_test.h"

namespace beacon {
namespace {

using nlohmann::json;
using testing::ElementsAre;

// As the third generation writes it.
json third() {
  return json::parse(
      R"({"beacon_window":32,"beacon_stride":32,"beacon_attn":"full-coverage","beacon_ratio":[2,4,8],
    "beacon_ratio_mix":"adapt-16","beacon_param":["q","k","v"],"beacon_embed_init":"bos","beacon_sink_size":1,
    "beacon_attend_prev":true,"beacon_pos":"interleave","beacon_parallel_window":1})");
}

BeaconConfig parse(const json& j) { return parse_beacon_config(j.dump()).value(); }

TEST(BeaconConfig, NothingWithoutKeys) {
  EXPECT_FALSE(parse_beacon_config(R"({"model_type":"llama"})").has_value());
}

TEST(BeaconConfig, ThirdGeneration) {
  const BeaconConfig c = parse(third());
  EXPECT_EQ(c.generation, BeaconGeneration::kThird);
  EXPECT_EQ(c.window, 32);
  EXPECT_EQ(c.placement, BeaconPlacement::kInterleave);
  EXPECT_THAT(c.ratios, ElementsAre(2, 4, 8));
  EXPECT_EQ(c.ratio_mix, RatioMix::kAdapt);
  EXPECT_EQ(c.adapt_tokens, 16);
  EXPECT_EQ(c.params, (BeaconParams{true, true, true, false, false}));
  EXPECT_EQ(c.embed_init, BeaconEmbedInit::kBos);
  EXPECT_EQ(c.sink_size, 1);
}

TEST(BeaconConfig, SecondGenerationWithEitherPrefix) {
  const char* keys = R"({"P_window":1024,"P_stride":1024,"P_attn":"step-expansion","P_attend_prev":true,
    "P_ratio":[2,4,8,16,32],"P_ratio_mix":"adapt-1024","P_sink_size":1,"P_param":["q","k","v","o"],
    "P_embed_init":"eos"})";
  const auto spelled = [&](const std::string& prefix) {
    std::string text = keys;
    for (size_t at; (at = text.find("P_")) != text.npos;) text.replace(at, 2, prefix);
    return parse_beacon_config(text).value();
  };
  const BeaconConfig c = spelled("ultragist_");
  EXPECT_EQ(c.prefix, "ultragist_");
  EXPECT_EQ(c.generation, BeaconGeneration::kSecond);
  EXPECT_EQ(c.placement, BeaconPlacement::kAppend);
  EXPECT_EQ(c.attention, BeaconAttentionRule::kStepExpansion);
  EXPECT_TRUE(c.attend_prev && c.params.o);
  EXPECT_EQ(c, spelled("beacon_"));
}

TEST(BeaconConfig, FirstGeneration) {
  const BeaconConfig list = parse(json::parse(R"({"beacon_window":1024,"beacon_stride":[512]})"));
  EXPECT_EQ(list.generation, BeaconGeneration::kFirst);
  EXPECT_EQ(list.stride, 512);
  EXPECT_THAT(list.ratios, ElementsAre(8));
  EXPECT_FALSE(list.attend_prev);
  EXPECT_TRUE(list.attend_previous_windows);
  const BeaconConfig flag = parse(
      json::parse(R"({"beacon_attend_previous":false,"beacon_param":["q","mlp"],"beacon_ratio":[0,2,128]})"));
  EXPECT_EQ(flag.generation, BeaconGeneration::kFirst);
  EXPECT_FALSE(flag.attend_previous_windows);
  EXPECT_TRUE(flag.params.mlp);
}

TEST(BeaconConfig, SingleRatioNeedNotDivide) {
  json j = third();
  j["beacon_ratio"] = {3};
  EXPECT_THAT(parse(j).ratios, ElementsAre(3));
  j["beacon_ratio"] = 0;
  EXPECT_THAT(parse(j).ratios, ElementsAre(0));
  j["beacon_ratio"] = {2, 64};  // the policy drops what does not fit
  EXPECT_THAT(parse(j).ratios, ElementsAre(2, 64));
}

TEST(BeaconConfig, RoundTrip) {
  std::vector<BeaconConfig> configs = {parse(third()), parse(json::parse(R"({"beacon_stride":[256]})")),
                                       parse(json::parse(R"({"ultragist_attn":"segmentation"})"))};
  BeaconConfig full = configs[0];
  full.sink_size = 0;
  full.skip_first = 4;
  full.skip_last = 68;
  full.gate = true;
  full.ratio_mix = RatioMix::kSequence;
  full.lora = LoraConfig{.rank = 8, .alpha = 12.5, .q = true, .o = true};
  full.rope.emplace();
  full.rope->kind = RopeKind::kYarn;
  full.rope->theta = 1e6;
  full.rope->factor = 4;
  full.rope->original_max_position_embeddings = 2048;
  full.rope->original_beacon_yarn = true;
  full.rope->mscale = 0.7;
  configs.push_back(full);
  for (const BeaconConfig& c : configs) {
    EXPECT_EQ(parse_beacon_config(to_json(c)).value(), c) << to_json(c);
  }
}

struct BadBeacon {
  const char* name;
  const char* patch;
  ErrorCode code;
  std::vector<std::string> says;
};
class BeaconConfigBad : public testing::TestWithParam<BadBeacon> {};

TEST_P(BeaconConfigBad, IsRefused) {
  json j = third();
  j.merge_patch(json::parse(GetParam().patch));
  expect_error(GetParam().code, GetParam().says, [&] { parse(j); });
}

constexpr auto kBad = ErrorCode::kBadFile;
constexpr auto kUnsupported = ErrorCode::kUnsupported;

INSTANTIATE_TEST_SUITE_P(
    Table, BeaconConfigBad,
    testing::Values(
        BadBeacon{"window_zero", R"({"beacon_window":0})", kBad, {"beacon_window", "found 0"}},
        BadBeacon{"window_text", R"({"beacon_window":"32"})", kBad, {"beacon_window"}},
        BadBeacon{
            "stride_above_window", R"({"beacon_stride":64})", kBad, {"stride", "window (32)", "found 64"}},
        BadBeacon{"stride_negative", R"({"beacon_stride":-1})", kBad, {"beacon_stride"}},
        BadBeacon{"several_strides", R"({"beacon_stride":[16,32]})", kUnsupported, {"2 strides"}},
        BadBeacon{"no_strides", R"({"beacon_stride":[]})", kBad, {"beacon_stride"}},
        BadBeacon{"sink_negative", R"({"beacon_sink_size":-1})", kBad, {"beacon_sink_size"}},
        BadBeacon{"sink_above_stride", R"({"beacon_sink_size":33})", kBad, {"sink", "found 33"}},
        BadBeacon{"ratio_negative", R"({"beacon_ratio":[-2]})", kBad, {"beacon_ratio"}},
        BadBeacon{"ratio_above_stride", R"({"beacon_ratio":[64]})", kBad, {"above the stride 32"}},
        BadBeacon{
            "ratios_without_divisor", R"({"beacon_ratio":[3,5]})", kBad, {"[3, 5]", "divides the stride 32"}},
        BadBeacon{"no_ratios", R"({"beacon_ratio":[]})", kBad, {"beacon_ratio"}},
        BadBeacon{"ratio_fraction", R"({"beacon_ratio":[2.5]})", kBad, {"beacon_ratio"}},
        BadBeacon{"mix_unknown", R"({"beacon_ratio_mix":"join"})", kUnsupported, {"join", "adapt-N"}},
        BadBeacon{"adapt_text", R"({"beacon_ratio_mix":"adapt-x"})", kUnsupported, {"adapt-x"}},
        BadBeacon{"adapt_nothing", R"({"beacon_ratio_mix":"adapt-"})", kUnsupported, {"adapt-"}},
        BadBeacon{"adapt_absurd",
                  R"({"beacon_ratio_mix":"adapt-99999999999999999999"})",
                  kUnsupported,
                  {"adapt-999"}},
        BadBeacon{
            "attention_unknown", R"({"beacon_attn":"causal"})", kUnsupported, {"causal", "segmentation"}},
        BadBeacon{
            "placement_unknown", R"({"beacon_pos":"front"})", kUnsupported, {"front", "interleave, append"}},
        BadBeacon{"param_unknown", R"({"beacon_param":["q","x"]})", kBad, {"beacon_param"}},
        BadBeacon{"interleaved_segmentation",
                  R"({"beacon_attn":"segmentation"})",
                  kBad,
                  {"segmentation", "append"}},
        BadBeacon{"interleaved_step", R"({"beacon_attn":"step-expansion"})", kBad, {"attend_prev false"}},
        BadBeacon{"rolling_step",
                  R"({"beacon_attn":"step-expansion","beacon_attend_prev":false,"beacon_stride":16})",
                  kBad,
                  {"stride = window"}},
        BadBeacon{"rolling_parallel",
                  R"({"beacon_stride":16,"beacon_parallel_window":2})",
                  kBad,
                  {"stride = window"}},
        BadBeacon{"parallel_zero", R"({"beacon_parallel_window":0})", kBad, {"beacon_parallel_window"}},
        BadBeacon{"parallel_raw", R"({"beacon_parallel_window":2,"beacon_ratio":[0]})", kBad, {"ratio 0"}},
        BadBeacon{"skip_with_sink", R"({"beacon_skip_first":4})", kBad, {"sink"}},
        BadBeacon{"skip_last_uneven",
                  R"({"beacon_sink_size":0,"beacon_skip_first":4,"beacon_skip_last":40})",
                  kBad,
                  {"multiple of the window (32)", "36"}},
        BadBeacon{"both_prefixes", R"({"ultragist_window":32})", kBad, {"both beacon_ and ultragist_"}},
        BadBeacon{"lora_not_an_object", R"({"beacon_lora":8})", kBad, {"beacon_lora", "object"}},
        BadBeacon{"lora_without_rank",
                  R"({"beacon_lora":{"lora_alpha":16,"target_modules":["q_proj"]}})",
                  kBad,
                  {"beacon_lora", "\"r\""}},
        BadBeacon{"lora_without_alpha",
                  R"({"beacon_lora":{"r":8,"target_modules":["q_proj"]}})",
                  kBad,
                  {"lora_alpha", "above 0"}},
        BadBeacon{"lora_of_the_mlp",
                  R"({"beacon_lora":{"r":8,"lora_alpha":16,"target_modules":["up_proj"]}})",
                  kBad,
                  {"target_modules", "q_proj"}},
        BadBeacon{"lora_variant",
                  R"({"beacon_lora":{"r":8,"lora_alpha":16,"target_modules":["q_proj"],"use_rslora":true}})",
                  kUnsupported,
                  {"use_rslora", "plain LoRA"}},
        BadBeacon{"rope_without_theta",
                  R"({"beacon_rope":{"rope_type":"linear","factor":2}})",
                  kBad,
                  {"rope_theta"}},
        BadBeacon{"rope_without_positions",
                  R"({"beacon_rope":{"rope_type":"yarn","rope_theta":1e4,"factor":2}})",
                  kBad,
                  {"beacon_rope", "original_max_position_embeddings"}},
        BadBeacon{"rope_unknown",
                  R"({"beacon_rope":{"rope_type":"su","rope_theta":1e4}})",
                  kUnsupported,
                  {"beacon_rope", "su"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace beacon
