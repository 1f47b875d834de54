#pragma once
// The program as a function.

namespace beacon::cli {

// Parses, runs one command and returns the exit code. Every failure is one line on standard error.
int run_program(int argc, char** argv);

}  // namespace beacon::cli
