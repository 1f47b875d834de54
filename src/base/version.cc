#include <beacon/version.h>

namespace beacon {

const char* version() noexcept { return BEACON_VERSION; }

}  // namespace beacon
