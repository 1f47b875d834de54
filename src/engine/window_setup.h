#pragma once
// From what the user wants and what the adapter says to the options of a plan.
#include <beacon/options.h>

#include "engine/model_impl.h"
#include "window/options.h"

namespace beacon {

// The user's options laid over the adapter's configuration (or, without one, over the defaults of
// BeaconOptions), checked. Throws kInvalidArgument naming the contradiction.
WindowOptions resolve_window(const BeaconOptions& wanted, const Model::Impl& model);

// As a JSON object for memory files, and back. The second throws kBadFile.
std::string window_to_json(const WindowOptions& options);
WindowOptions window_from_json(const std::string& json);

}  // namespace beacon
