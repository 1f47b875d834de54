#include "kernels/attention_decode.h"

#include <thread>

#include "attention_decode_fixture.h"

namespace beacon::kernels {
namespace {

class AttentionDecodeTest : public KernelTest {
 protected:
  std::vector<float> run(const AttentionProblem& problem, int64_t chunks) {
    std::vector<float> out;
    const AttentionDecodeParams p = problem.params(out);
    std::vector<float> partials(attention_partial_floats(p, chunks), NAN);
    for (int64_t unit = p.num_kv_heads * chunks - 1; unit >= 0; --unit) {
      std::vector<float> scratch(static_cast<size_t>(attention_decode_scratch_floats(p)) + 2, NAN);
      scratch.back() = 5.0F;
      attention_decode(p, chunks, unit, unit + 1, partials.data(), scratch.data() + 1);
      EXPECT_EQ(scratch.back(), 5.0F);
    }
    attention_merge(p, chunks, partials.data());
    return out;
  }
};
BEACON_FOR_EVERY_ISA(AttentionDecodeTest);

TEST_P(AttentionDecodeTest, EqualsTheReferenceForEveryNumberOfChunks) {
  for (const AttentionCase& c : attention_cases()) {
    // The reference is slow, and many queries are not what this kernel is for.
    if (c.queries > 33) continue;
    SCOPED_TRACE(testing::PrintToString(c));
    const AttentionProblem problem(c, random_);
    const auto expected = problem.expected();
    for (const int64_t chunks : {1, 2, 3, 7})
      expect_near(run(problem, chunks), expected, [&](size_t) { return problem.tolerance(); });
  }
}

TEST_P(AttentionDecodeTest, OneToEightQueries) {
  for (int64_t queries = 1; queries <= 8; ++queries) {
    const AttentionProblem problem({queries, 260, 9, 3, 64}, random_);
    expect_near(run(problem, 2), problem.expected(), [&](size_t) { return problem.tolerance(); });
  }
}

TEST_P(AttentionDecodeTest, MoreChunksThanKeysAndChunksThatSeeNothing) {
  // With 5 keys and 4 chunks of 2 the last chunk is empty; early queries see nothing of the later ones.
  const AttentionProblem problem({5, 5, 2, 1, 16}, random_);
  const auto expected = problem.expected();
  for (const int64_t chunks : {4, 5, 9})
    expect_near(run(problem, chunks), expected, [&](size_t) { return problem.tolerance(); });
}

TEST_P(AttentionDecodeTest, ThreadsChangeNothing) {
  const AttentionProblem problem({2, 900, 9, 3, 64}, random_);
  std::vector<float> out;
  const AttentionDecodeParams p = problem.params(out);
  const int64_t chunks = 3;
  std::vector<float> partials(attention_partial_floats(p, chunks));
  std::vector<float> one(attention_decode_scratch_floats(p));
  std::vector<float> two(one.size());
  std::thread other([&] { attention_decode(p, chunks, 0, 4, partials.data(), one.data()); });
  attention_decode(p, chunks, 4, 9, partials.data(), two.data());
  other.join();
  attention_merge(p, chunks, partials.data());
  EXPECT_EQ(out, run(problem, chunks));
}

TEST_P(AttentionDecodeTest, ProposesChunksThatKeepThreadsBusy) {
  AttentionDecodeParams p;
  p.num_kv_heads = 3;
  p.num_keys = 8192;
  EXPECT_EQ(attention_decode_chunks(p, 1), 1);
  EXPECT_GE(p.num_kv_heads * attention_decode_chunks(p, 16), 16);
  p.num_keys = 10;
  EXPECT_EQ(attention_decode_chunks(p, 16), 1);
}

}  // namespace
}  // namespace beacon::kernels
