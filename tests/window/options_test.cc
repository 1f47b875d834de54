#include "window/options.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <functional>

namespace beacon {
namespace {

using ::testing::HasSubstr;

struct Refusal {
  const char* names;  // the option the message starts with
  std::function<void(WindowOptions&)> spoil;
};

void spoil_append(WindowOptions& o) { o.placement = Placement::kAppend; }

const std::vector<Refusal> kRefusals = {
    {"window:", [](auto& o) { o.window = 0; }},
    {"window:", [](auto& o) { o.window = -5; }},
    {"window:", [](auto& o) { o.window = o.stride = kMaxSequence + 1; }},
    {"stride:", [](auto& o) { o.stride = 0; }},
    {"stride:", [](auto& o) { o.stride = o.window + 1; }},
    {"sink:", [](auto& o) { o.sink = -1; }},
    {"sink:", [](auto& o) { o.sink = o.stride + 1; }},
    {"parallel windows:", [](auto& o) { o.parallel_windows = 0; }},
    {"max_positions", [](auto& o) { o.max_positions = -1; }},
    {"ratio:", [](auto& o) { o.ratio.ratios = {}; }},
    {"ratio:", [](auto& o) { o.ratio.ratios = {-2}; }},
    {"ratio:", [](auto& o) { o.ratio.ratios = {static_cast<int>(o.stride) + 1}; }},
    {"ratio:",
     [](auto& o) {
       o.ratio.ratios = {3, 5, 7};
     }},
    {"ratio:",
     [](auto& o) {
       o.ratio.ratios = {0, 3};
     }},
    {"ratio:",
     [](auto& o) {
       o.ratio.ratios = {0, 2};
       o.parallel_windows = 2;
     }},
    {"ratio:",
     [](auto& o) {
       o.ratio.ratios = {2, 3};
       o.ratio.mix = RatioPolicy::Mix::kForced;
     }},
    {"adapt-N:",
     [](auto& o) {
       o.ratio.ratios = {2, 4};
       o.ratio.mix = RatioPolicy::Mix::kAdapt;
     }},
    {"adapt-N:",
     [](auto& o) {
       o.ratio.ratios = {2, 4};
       o.ratio.mix = RatioPolicy::Mix::kAdapt;
       o.max_positions = 1000;
       o.ratio.adapt_tokens = -1;
     }},
    {"placement:", [](auto& o) { o.generation = Generation::kFirst; }},
    {"placement:", [](auto& o) { o.generation = Generation::kSecond; }},
    {"attention:", [](auto& o) { o.attention = BeaconAttention::kSegmentation; }},
    {"attend_prev:", [](auto& o) { o.attention = BeaconAttention::kStepExpansion; }},
    {"stride:",
     [](auto& o) {
       o.attention = BeaconAttention::kStepExpansion;
       o.attend_prev = false;
       o.stride = 8;
     }},
    {"placement:",
     [](auto& o) {
       spoil_append(o);
       o.attention = BeaconAttention::kEcho;
     }},
    {"parallel windows:",
     [](auto& o) {
       o.attention = BeaconAttention::kEcho;
       o.parallel_windows = 2;
     }},
    {"attend_previous_windows:", [](auto& o) { o.attend_previous_windows = false; }},
    {"sink:",
     [](auto& o) {
       spoil_append(o);
       o.generation = Generation::kFirst;
       o.sink = 1;
     }},
    {"parallel windows:",
     [](auto& o) {
       spoil_append(o);
       o.generation = Generation::kSecond;
       o.parallel_windows = 2;
     }},
    {"stride:",
     [](auto& o) {
       o.parallel_windows = 2;
       o.stride = 8;
     }},
    {"skip_first:", [](auto& o) { o.skip_first = -1; }},
    {"stride:",
     [](auto& o) {
       o.skip_first = 3;
       o.stride = 8;
     }},
    {"stride:",
     [](auto& o) {
       spoil_append(o);
       o.skip_last = 32;
       o.stride = 8;
     }},
    {"parallel windows:",
     [](auto& o) {
       o.skip_last = 32;
       o.parallel_windows = 2;
     }},
    {"sink:",
     [](auto& o) {
       o.skip_first = 3;
       o.sink = 1;
     }},
    {"skip_last:",
     [](auto& o) {
       o.skip_first = 20;
       o.skip_last = 84 + 1;
     }},
    {"skip_last:",
     [](auto& o) {
       o.skip_first = 20;
       o.skip_last = 4;
     }},
};

WindowOptions small() {
  WindowOptions o;
  o.window = o.stride = 16;
  o.ratio.ratios = {4};
  return o;
}

TEST(Options, EachContradictionIsRefusedInOneLineNamingTheOption) {
  for (size_t i = 0; i < kRefusals.size(); ++i) {
    WindowOptions o = small();
    ASSERT_NO_THROW(validate(o));
    kRefusals[i].spoil(o);
    try {
      validate(o);
      ADD_FAILURE() << "refusal " << i << " (" << kRefusals[i].names << ") was accepted";
    } catch (const Error& e) {
      const std::string what = e.what();
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      EXPECT_EQ(what.rfind(kRefusals[i].names, 0), 0u) << i << ": " << what;
      EXPECT_THAT(what, HasSubstr("expected"));
      EXPECT_THAT(what, HasSubstr("found"));
      EXPECT_EQ(what.find('\n'), std::string::npos);
    }
  }
}

TEST(Options, OneRatioNeedNotDivideTheStrideAndListsAreFiltered) {
  WindowOptions o = small();
  o.ratio.ratios = {3};
  EXPECT_NO_THROW(validate(o));
  o.ratio.ratios = {2, 3, 32};
  EXPECT_NO_THROW(validate(o));
  o.ratio.mix = RatioPolicy::Mix::kForced;
  o.ratio.ratios = {3, 3, 3};
  EXPECT_NO_THROW(validate(o));
}

TEST(Options, WithBeaconsOffOnlyTheWindowMatters) {
  WindowOptions o;
  o.enabled = false;
  o.stride = -3;
  o.ratio.ratios = {};
  EXPECT_NO_THROW(validate(o));
  o.window = 0;
  EXPECT_THROW(validate(o), Error);
}

TEST(Options, NamesAreThoseOfTheConfigKeys) {
  EXPECT_STREQ(to_string(Placement::kAppend), "append");
  EXPECT_STREQ(to_string(BeaconAttention::kStepExpansion), "step-expansion");
  EXPECT_STREQ(to_string(RatioPolicy::Mix::kInstanceRandom), "instance-random");
}

}  // namespace
}  // namespace beacon
