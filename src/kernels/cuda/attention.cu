// Few queries over many keys. A warp takes a chunk of the keys for up to kQueries queries of one KV head, 32
// keys at a time: kWidth lanes share a key, eight numbers each; every lane then has the score of one of the
// keys, and weighs the values with them. A second pass puts the chunks together.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/numbers.h"

namespace beacon::kernels {
namespace {

BEACON_DEVICE float minus_infinity() { return float_of_bits(0xFF800000U); }

// exp(score - largest), where that is a number.
BEACON_DEVICE float weight_of(float score, float largest) {
  return score == minus_infinity() ? 0.0F : exp_of(score - largest);
}

template <int kQueries>
struct OfQueries {
  float of[kQueries];
};

// Where a query's results over a chunk lie in DeviceAttention::partials.
struct Partials {
  const DeviceAttention& p;
  int64_t chunks;
  BEACON_DEVICE float* sums(int64_t query, int64_t chunk) const {
    return p.partials + (query * chunks + chunk) * p.head_dim;
  }
  // The largest score, the sum of weights.
  BEACON_DEVICE float* scale(int64_t query, int64_t chunk) const {
    return p.partials + p.rows * p.heads * chunks * p.head_dim + (query * chunks + chunk) * 2;
  }
};

template <DType kType, int kQueries, int kWidth>
struct AttendChunk {
  DeviceAttention p;
  int64_t chunks;

  // Of one lane: its eight numbers of the queries and of the weighted sums of its share of the keys.
  struct State {
    float q[kQueries][8];
    float sum[kQueries][8];
  };

  // Query number i of a KV head: i % group of the heads that share it, row i / group.
  struct Query {
    int64_t row, head;
  };
  BEACON_DEVICE Query query(int64_t kv_head, int64_t i) const {
    const int64_t group = p.heads / p.kv_heads;
    return {i / group, kv_head * group + i % group};
  }

  BEACON_DEVICE bool sees(int64_t row, int64_t key) const {
    if (p.mask == nullptr) return key <= p.keys - p.rows + row;
    return key < p.seen_keys || p.mask[row * p.mask_row_stride + key - p.seen_keys] != 0;
  }

  BEACON_DEVICE float score(const Query& at, int64_t key, float product) const {
    if (!sees(at.row, key)) return minus_infinity();
    return p.gate != nullptr && p.gated_keys[key] != 0 ? product + p.gate[at.head] : product;
  }

  // What a warp has gathered over its keys.
  struct Gathered {
    PerLane<State> state;
    PerLane<OfQueries<kQueries>> total;  // of the weights of this lane's keys
    OfQueries<kQueries> largest;         // score so far
  };

  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t queries = p.heads / p.kv_heads * p.rows;
    const int64_t blocks = (queries + kQueries - 1) / kQueries;
    const int64_t chunk = i % chunks, first = i / chunks % blocks * kQueries, kv_head = i / chunks / blocks;
    const int64_t begin = chunk * p.chunk_keys;
    const int64_t end = begin + p.chunk_keys < p.keys ? begin + p.chunk_keys : p.keys;
    // Those beyond the last are the last again, and not written.
    Query own[kQueries];
    for (int q = 0; q < kQueries; ++q) own[q] = query(kv_head, first + q < queries ? first + q : queries - 1);
    Gathered gathered;
    start(own, gathered);
    for (int64_t tile = begin; tile < end; tile += kLanes) {
      PerLane<OfQueries<kQueries>> scores;
      multiply_keys(kv_head, tile, end, gathered.state, scores);
      for (int q = 0; q < kQueries; ++q) soften(own[q], q, tile, end, scores, gathered);
      add_values(kv_head, tile, end, scores, gathered.state);
    }
    for (int q = 0; q < kQueries; ++q) write(own[q], q, chunk, first + q < queries, gathered);
  }

  BEACON_DEVICE void start(const Query* own, Gathered& gathered) const {
    each_lane([&](int lane) {
      State& state = gathered.state[lane];
      const int64_t at = lane % kWidth * 8;
      for (int q = 0; q < kQueries; ++q) {
        gathered.total[lane].of[q] = 0;
        gathered.largest.of[q] = minus_infinity();
        for (int j = 0; j < 8; ++j) state.q[q][j] = state.sum[q][j] = 0;
        if (at >= p.head_dim) continue;
        const int64_t first_number = own[q].row * p.q_row_stride + own[q].head * p.head_dim + at;
        if (p.q_type == DType::kF32) {
          Eight<DType::kF32>::at(p.q, first_number).numbers(state.q[q]);
        } else {
          Eight<DType::kBF16>::at(p.q, first_number).numbers(state.q[q]);
        }
        for (int j = 0; j < 8; ++j) state.q[q][j] *= p.scale;
      }
    });
  }

  // Scores of a tile into weights; what was gathered before shrinks to the new largest score.
  BEACON_DEVICE void soften(const Query& own, int q, int64_t tile, int64_t end,
                            PerLane<OfQueries<kQueries>>& scores, Gathered& gathered) const {
    each_lane([&](int lane) {
      float& each = scores[lane].of[q];
      each = tile + lane < end ? score(own, tile + lane, each) : minus_infinity();
    });
    const float before = gathered.largest.of[q];
    const float in_tile = lane_max(scores, [q](const OfQueries<kQueries>& each) { return each.of[q]; });
    const float now = before > in_tile ? before : in_tile;
    const float shrink = weight_of(before, now);
    gathered.largest.of[q] = now;
    each_lane([&](int lane) {
      float& weight = scores[lane].of[q];
      weight = weight_of(weight, now);
      gathered.total[lane].of[q] = gathered.total[lane].of[q] * shrink + weight;
      for (int j = 0; j < 8; ++j) gathered.state[lane].sum[q][j] *= shrink;
    });
  }

  BEACON_DEVICE void write(const Query& own, int q, int64_t chunk, bool wanted, Gathered& gathered) const {
    const float total = lane_sum(gathered.total, [q](const OfQueries<kQueries>& each) { return each.of[q]; });
    for (int j = 0; j < 8; ++j)
      sum_across<kWidth, kLanes>(gathered.state, [q, j](State& each) -> float& { return each.sum[q][j]; });
    if (!wanted) return;
    const Partials partials{p, chunks};
    const int64_t number = own.row * p.heads + own.head;
    each_lane([&](int lane) {
      const int at = lane * 8;
      if (lane == 0) {
        partials.scale(number, chunk)[0] = gathered.largest.of[q];
        partials.scale(number, chunk)[1] = total;
      }
      if (lane >= kWidth || at >= p.head_dim) return;
      for (int j = 0; j < 8; j += 4)
        store_some<4>(DType::kF32, partials.sums(number, chunk), at + j, gathered.state[lane].sum[q] + j);
    });
  }

  // A lane's numbers of the keys or values of several steps, loaded before the first is used: a warp that
  // waits for each of them alone reaches a quarter of the memory's speed.
  static constexpr int kAhead = kType == DType::kF32 || kQueries > 4 ? 4 : 8;
  struct Loaded {
    Eight<kType> of[kAhead];
  };

  // In step lane % kWidth of a tile a lane looks at key tile + lane, with kWidth - 1 others.
  BEACON_DEVICE PerLane<Loaded> load_ahead(const void* data, int64_t head, int64_t row_stride, int64_t tile,
                                           int64_t end, int step) const {
    PerLane<Loaded> loaded;
    each_lane([&](int lane) {
      const int64_t at = lane % kWidth * 8;
      for (int i = 0; i < kAhead; ++i) {
        const int64_t key = tile + lane / kWidth * kWidth + step + i;
        loaded[lane].of[i] =
            at < p.head_dim ? Eight<kType>::at(data, head + (key < end ? key : end - 1) * row_stride + at)
                            : Eight<kType>::zeros();
      }
    });
    return loaded;
  }

  BEACON_DEVICE void multiply_keys(int64_t kv_head, int64_t tile, int64_t end, PerLane<State>& state,
                                   PerLane<OfQueries<kQueries>>& scores) const {
    for (int first = 0; first < kWidth; first += kAhead) {
      PerLane<Loaded> keys = load_ahead(p.k, kv_head * p.k_head_stride, p.k_row_stride, tile, end, first);
      for (int i = 0; i < kAhead; ++i) {
        PerLane<OfQueries<kQueries>> products;
        each_lane([&](int lane) {
          float k[8];
          keys[lane].of[i].numbers(k);
          for (int q = 0; q < kQueries; ++q) {
            float sum = 0;
            for (int j = 0; j < 8; ++j) sum += state[lane].q[q][j] * k[j];
            products[lane].of[q] = sum;
          }
        });
        for (int q = 0; q < kQueries; ++q)
          sum_across<1, kWidth>(products, [q](OfQueries<kQueries>& each) -> float& { return each.of[q]; });
        each_lane([&](int lane) {
          for (int q = 0; q < kQueries; ++q) {
            if (lane % kWidth == first + i) scores[lane].of[q] = products[lane].of[q];
          }
        });
      }
    }
  }

  BEACON_DEVICE void add_values(int64_t kv_head, int64_t tile, int64_t end,
                                PerLane<OfQueries<kQueries>>& weights, PerLane<State>& state) const {
    for (int first = 0; first < kWidth; first += kAhead) {
      PerLane<Loaded> values = load_ahead(p.v, kv_head * p.v_head_stride, p.v_row_stride, tile, end, first);
      for (int i = 0; i < kAhead; ++i) {
        each_lane([&](int lane) {
          float v[8];
          values[lane].of[i].numbers(v);
          for (int q = 0; q < kQueries; ++q) {
            const float weight = of_neighbour<kWidth>(
                weights, lane, first + i, [q](const OfQueries<kQueries>& each) { return each.of[q]; });
            for (int j = 0; j < 8; ++j) state[lane].sum[q][j] += weight * v[j];
          }
        });
      }
    }
  }
};

// Eight numbers of one query's result; lanes share the chunks.
struct MergeEight {
  DeviceAttention p;
  int64_t chunks;
  struct State {
    float largest, total, sum[8];
  };
  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t slices = p.head_dim / 8, query = i / slices, at = i % slices * 8;
    const Partials partials{p, chunks};
    PerLane<State> state;
    each_lane([&](int lane) {
      State& own = state[lane];
      own = {minus_infinity(), 0, {0, 0, 0, 0, 0, 0, 0, 0}};
      for (int64_t c = lane; c < chunks; c += kLanes) {
        const float score = partials.scale(query, c)[0];
        own.largest = own.largest > score ? own.largest : score;
      }
    });
    const float largest = lane_max(state, [](const State& each) { return each.largest; });
    each_lane([&](int lane) {
      State& own = state[lane];
      BEACON_UNROLL(4)
      for (int64_t c = lane; c < chunks; c += kLanes) {
        const float weight = weight_of(partials.scale(query, c)[0], largest);
        own.total += weight * partials.scale(query, c)[1];
        float part[8];
        Eight<DType::kF32>::at(partials.sums(query, c), at).numbers(part);
        for (int j = 0; j < 8; ++j) own.sum[j] += weight * part[j];
      }
    });
    const float total = lane_sum(state, [](const State& each) { return each.total; });
    const int64_t to = query / p.heads * p.out_row_stride + query % p.heads * p.head_dim + at;
    for (int j = 0; j < 8; ++j) {
      const float sum = lane_sum(state, [j](const State& each) { return each.sum[j]; });
      each_lane([&](int lane) {
        if (lane == 0) store(p.out_type, p.out, to + j, total > 0 ? sum / total : 0.0F);
      });
    }
  }
};

template <DType kType, int kQueries, int kWidth>
const char* attend_chunks(const DeviceAttention& p, void* stream) {
  const int64_t chunks = (p.keys + p.chunk_keys - 1) / p.chunk_keys;
  const int64_t queries = p.heads / p.kv_heads * p.rows, blocks = (queries + kQueries - 1) / kQueries;
  const char* error =
      run_warps(p.kv_heads * blocks * chunks, AttendChunk<kType, kQueries, kWidth>{p, chunks}, stream);
  if (error != nullptr) return error;
  return run_warps(p.rows * p.heads * (p.head_dim / 8), MergeEight{p, chunks}, stream);
}

template <DType kType, int kQueries>
const char* attend_width(const DeviceAttention& p, void* stream) {
  if (p.head_dim <= 64) return attend_chunks<kType, kQueries, 8>(p, stream);
  if (p.head_dim <= 128) return attend_chunks<kType, kQueries, 16>(p, stream);
  return attend_chunks<kType, kQueries, 32>(p, stream);
}

template <DType kType>
const char* attend_queries(const DeviceAttention& p, void* stream) {
  const int64_t queries = p.heads / p.kv_heads * p.rows;
  if (queries == 1) return attend_width<kType, 1>(p, stream);
  if (queries == 2) return attend_width<kType, 2>(p, stream);
  if (queries <= 4) return attend_width<kType, 4>(p, stream);
  return attend_width<kType, 8>(p, stream);
}

}  // namespace

const char* attention(const DeviceAttention& p, void* stream) {
  if (p.head_dim % kDeviceHeadMultiple != 0 || p.head_dim > kDeviceLargestHead)
    return "heads of a multiple of 8 numbers, 256 at most, were expected";
  if (p.rows == 0 || p.keys == 0) return nullptr;
  return p.kv_type == DType::kF32 ? attend_queries<DType::kF32>(p, stream)
                                  : attend_queries<DType::kBF16>(p, stream);
}

}  // namespace beacon::kernels
