// Processes that mpirun or srun started, over MPI.
#include <mpi.h>

#include <cstdlib>

#include "base/check.h"
#include "train/communicator.h"
#include "train/launcher.h"

namespace beacon {
namespace {

class MpiProcesses : public Communicator {
 public:
  MpiProcesses() {
    // Errors of MPI end the job by themselves, with a message of the launcher.
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads_);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiProcesses() override { MPI_Finalize(); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool in_any_thread() const override { return threads_ >= MPI_THREAD_SERIALIZED; }
  void sum(std::span<float> values) override { sum(values.data(), values.size(), MPI_FLOAT); }
  void sum(std::span<double> values) override { sum(values.data(), values.size(), MPI_DOUBLE); }
  void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }
  void end_job() override { MPI_Abort(MPI_COMM_WORLD, 1); }

 private:
  // One rank adds and hands out: an all-reduce may round differently from rank to rank.
  void sum(void* values, size_t count, MPI_Datatype type) const {
    const int n = static_cast<int>(count);
    BEACON_CHECK(static_cast<size_t>(n) == count);
    MPI_Reduce(rank_ == 0 ? MPI_IN_PLACE : values, values, n, type, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Bcast(values, n, type, 0, MPI_COMM_WORLD);
  }

  int rank_ = 0;
  int size_ = 1;
  int threads_ = MPI_THREAD_SINGLE;
};

}  // namespace

std::unique_ptr<Communicator> launched_processes() {
  // MPI takes a second to start and opens sockets: only where a launcher asks for it.
  if (launched_ranks() <= 1) return single_process();
  return std::make_unique<MpiProcesses>();
}

}  // namespace beacon
