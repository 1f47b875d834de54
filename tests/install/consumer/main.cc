// Uses the installed library as a stranger would; exits 0 when it behaves.
#include <beacon/error.h>
#include <beacon/sampling.h>
#include <beacon/version.h>

#include <cstdio>
#include <cstring>

int main() {
  std::printf("libbeacon %s\n", beacon::version());
  beacon::SamplingOptions options;
  options.temperature = -1;
  try {
    beacon::validate(options);
  } catch (const beacon::Error& error) {
    std::printf("refused as expected: %s: %s\n", beacon::to_string(error.code()), error.what());
    return error.code() == beacon::ErrorCode::kInvalidArgument ? 0 : 1;
  }
  std::printf("a negative temperature was accepted\n");
  return 1;
}
