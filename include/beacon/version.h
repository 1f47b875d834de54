#pragma once
/// \file version.h
/// The version of the library that is loaded, which may differ from the headers a program was built with.
#include <beacon/export.h>

namespace beacon {

/// "MAJOR.MINOR.PATCH" of the loaded library; a static string. Thread-safe.
BEACON_API const char* version() noexcept;

}  // namespace beacon
