// Reads a text once and asks it several things: the memory is read once, every question starts from the same
// mark.
//
//   read_and_ask MODEL TEXT_FILE QUESTION...
#include <beacon/session.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

namespace {

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: read_and_ask MODEL TEXT_FILE QUESTION...\n";
    return 2;
  }
  try {
    const auto model = beacon::Model::load({.model = argv[1]});

    beacon::SessionOptions options;
    options.beacons.window = 1024;  // a full window of 1024 tokens ...
    options.beacons.ratios = {8};   // ... becomes 128 beacons
    beacon::Session session(model, options);
    session.feed_text(read_file(argv[2]));

    const auto ledger = session.ledger();
    std::cerr << ledger.tokens_read << " tokens in "
              << ledger.sink_rows + ledger.beacon_rows + ledger.raw_rows << " rows of memory\n";

    const auto after_reading = session.mark();
    for (int i = 3; i < argc; ++i) {
      session.rewind(*after_reading);
      const std::string prompt = std::string("\n\nQuestion: ") + argv[i] + "\nAnswer:";
      const auto answer = session.generate_text(prompt, {.max_new_tokens = 40, .stop = {"\n"}});
      std::cout << argv[i] << "\n  " << answer.text << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << "read_and_ask: " << error.what() << "\n";
    return 1;
  }
}
