#include "kernels/isa.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace beacon::kernels {
namespace {

class IsaTest : public testing::Test {
 protected:
  void TearDown() override {
    unsetenv("BEACON_ISA");
    choose_isa();
  }
};

ErrorCode code_of_choice() {
  try {
    choose_isa();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST_F(IsaTest, TakesTheBestByDefault) {
  choose_isa();
  EXPECT_EQ(active_isa_name(), available_isas().back());
}

TEST_F(IsaTest, OffersTheReferenceAndTheBaselineEverywhere) {
  const auto isas = available_isas();
  ASSERT_GE(isas.size(), 2U);
  EXPECT_EQ(isas[0], "reference");
  EXPECT_EQ(isas[1], "baseline");
}

TEST_F(IsaTest, TheEnvironmentForcesEachUsableOne) {
  for (const auto isa : available_isas()) {
    setenv("BEACON_ISA", std::string(isa).c_str(), 1);
    choose_isa();
    EXPECT_EQ(active_isa_name(), isa);
  }
}

TEST_F(IsaTest, AnEmptyNameMeansTheBest) {
  setenv("BEACON_ISA", "", 1);
  choose_isa();
  EXPECT_EQ(active_isa_name(), available_isas().back());
}

TEST_F(IsaTest, RefusesAnUnknownName) {
  const std::string before = active_isa_name();
  setenv("BEACON_ISA", "avx9", 1);
  EXPECT_EQ(code_of_choice(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(active_isa_name(), before);
}

#if defined(__x86_64__)
// What Linux says of the same processor.
TEST_F(IsaTest, FastBf16MeansTilesOrAmd) {
  std::ifstream info("/proc/cpuinfo");
  std::string vendor, flags;
  for (std::string line; std::getline(info, line) && flags.empty();) {
    if (line.starts_with("vendor_id")) vendor = line.substr(line.find(": ") + 2);
    if (line.starts_with("flags")) flags = line + ' ';
  }
  if (flags.empty()) GTEST_SKIP() << "no /proc/cpuinfo";
  const auto has = [&flags](const std::string& flag) {
    return flags.find(' ' + flag + ' ') != std::string::npos;
  };
  const bool pairs = has("avx512_bf16") && has("avx512_vnni");
  EXPECT_EQ(has_fast_bf16(), pairs && (vendor == "AuthenticAMD" || (has("amx_bf16") && has("amx_tile"))));
}

TEST_F(IsaTest, RefusesWhatThisMachineLacks) {
  const auto isas = available_isas();
  for (const std::string name : {"avx2", "avx512", "avx512bf16"}) {
    if (std::find(isas.begin(), isas.end(), name) != isas.end()) continue;
    setenv("BEACON_ISA", name.c_str(), 1);
    EXPECT_EQ(code_of_choice(), ErrorCode::kUnsupported);
  }
}
#endif

TEST_F(IsaTest, TheMessageNamesTheUsableOnes) {
  try {
    set_isa_for_tests("sparc");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("sparc"), testing::HasSubstr("reference, baseline")));
  }
}

}  // namespace
}  // namespace beacon::kernels
