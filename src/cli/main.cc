#include "cli/program.h"

int main(int argc, char** argv) { return beacon::cli::run_program(argc, argv); }
