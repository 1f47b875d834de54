#pragma once
// Sums over the processes of a run.
#include <cstdint>
#include <memory>
#include <span>

namespace beacon {

// For one thread at a time; all ranks call the same functions in the same order.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Whether threads other than the one that made it may call it.
  virtual bool in_any_thread() const = 0;
  // Replaces the values by their sums over all ranks, the same bits on every rank.
  virtual void sum(std::span<float> values) = 0;
  virtual void sum(std::span<double> values) = 0;
  // Waits for all ranks.
  virtual void barrier() = 0;
  // Ends the other ranks, which would wait for ever for one that failed; may not return. Nothing for one
  // process.
  virtual void end_job() = 0;
};

// One process: sums are what they were.
std::unique_ptr<Communicator> single_process();

// MPI when the library was built with it and mpirun or srun started more than one process; else one process.
// At most one in a process. Throws kUnsupported when a launcher started several but MPI was not built in.
std::unique_ptr<Communicator> launched_processes();

}  // namespace beacon
