#pragma once
/// \file error.h
/// The one exception type of the library. The library never prints, exits or aborts on bad input.
#include <beacon/export.h>

#include <stdexcept>
#include <string>

namespace beacon {

/// What went wrong, coarse enough to be acted on by a program.
enum class ErrorCode {
  kInvalidArgument,  ///< an option or argument is out of range or contradicts another
  kNotFound,         ///< a file, tensor, token or name does not exist
  kBadFile,          ///< a file is truncated, corrupted or not what it claims to be
  kUnsupported,      ///< well formed, but a kind we do not read (architecture, dtype, version)
  kMismatch,         ///< two things do not belong together (model and adapter, model and memory file)
  kCapacity,         ///< the text does not fit what the options can hold
  kIo,               ///< the operating system refused (no space, no permission)
  kCancelled,        ///< the caller asked to stop
  kInternal,         ///< a broken invariant: a bug of ours
};

/// Short lower-case name of a code ("bad file"), for messages and JSON.
BEACON_API const char* to_string(ErrorCode code);

/// Thrown by every function of the library that can fail. what() is one line: what was expected, what was
/// found and, where it helps, what to do.
class BEACON_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace beacon
