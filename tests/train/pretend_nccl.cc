// NCCL's interface for threads of one process and values in host memory.
#include <algorithm>
#include <barrier>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Id {
  char bytes[128];
};

struct Group {
  explicit Group(int ranks) : here(ranks), values(static_cast<size_t>(ranks)) {}
  std::barrier<> here;
  std::vector<std::vector<float>> values;
};

struct Rank {
  Group* group;
  size_t number;
};

std::mutex mutex;
std::map<std::string, Group*> groups;
char next_id = -3;

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int ncclGetUniqueId(Id* id) {
  const std::lock_guard lock(mutex);
  std::fill(std::begin(id->bytes), std::end(id->bytes), next_id--);
  return 0;
}

EXPORTED int ncclCommInitRank(void** comm, int ranks, Id id, int rank) {
  // As two processes on one GPU.
  if (ranks > 2) return 5;
  const std::lock_guard lock(mutex);
  Group*& group = groups[std::string(std::begin(id.bytes), std::end(id.bytes))];
  if (group == nullptr) group = new Group(ranks);
  *comm = new Rank{group, static_cast<size_t>(rank)};
  return 0;
}

EXPORTED int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, void* comm,
                           void* stream) {
  if (type != 7 || operation != 0 || stream != nullptr) return 4;
  auto* rank = static_cast<Rank*>(comm);
  Group& group = *rank->group;
  const auto* values = static_cast<const float*>(from);
  group.values[rank->number].assign(values, values + count);
  group.here.arrive_and_wait();
  std::vector<float> sums(count, 0.0F);
  for (const std::vector<float>& each : group.values) {
    if (each.size() != count) return 4;
    for (size_t i = 0; i < count; ++i) sums[i] += each[i];
  }
  group.here.arrive_and_wait();
  std::memcpy(to, sums.data(), count * sizeof(float));
  return 0;
}

EXPORTED const char* ncclGetErrorString(int result) {
  return result == 5 ? "invalid usage" : "invalid argument";
}
