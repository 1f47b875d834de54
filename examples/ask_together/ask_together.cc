// Reads a text once and answers several questions about it at the same time: every question goes on from a
// copy of the memory, and the weights are read once for all of them.
//
//   ask_together MODEL TEXT_FILE QUESTION...
#include <beacon/batch.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: ask_together MODEL TEXT_FILE QUESTION...\n";
    return 2;
  }
  try {
    const auto model = beacon::Model::load({.model = argv[1]});
    beacon::SessionOptions options;
    options.beacons.window = 1024;
    options.beacons.ratios = {8};
    beacon::Session reader(model, options);
    reader.feed_text(read_file(argv[2]));

    const std::vector<std::string> questions(argv + 3, argv + argc);
    std::vector<beacon::Session> sessions;
    for (const std::string& question : questions) {
      sessions.push_back(reader.clone());
      sessions.back().feed_text("\n\nQuestion: " + question + "\nAnswer:");
    }

    beacon::Batch batch(model);
    for (beacon::Session& session : sessions) batch.add(session, {.max_new_tokens = 40, .stop = {"\n"}});
    std::vector<std::string> answers(questions.size());
    while (batch.size() > 0) {
      for (const beacon::BatchAnswer& answer : batch.step())
        answers[static_cast<size_t>(answer.session - sessions.data())] = answer.result.text;
    }
    for (size_t i = 0; i < questions.size(); ++i) std::cout << questions[i] << "\n  " << answers[i] << "\n";
  } catch (const std::exception& error) {
    std::cerr << "ask_together: " << error.what() << "\n";
    return 1;
  }
}
