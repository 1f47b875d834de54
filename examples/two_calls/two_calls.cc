// Two calls on one session: a short prompt, then, with the memory reset in between, a context far longer than
// the model's window whose last words are a question. What the first README of Activation Beacon shows, in
// C++.
//
//   two_calls MODEL narrativeqa.json [ADAPTER]
//
// The JSON file holds {"context": text, "answer": text or list of texts}.
#include <beacon/error.h>
#include <beacon/session.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace {

void first_call(beacon::Session& session) {
  const auto ids = session.model().tokenizer().encode("Tell me about yourself.");
  session.feed(ids);
  const auto output = session.generate({.max_new_tokens = 20});
  std::cout << "Input Length: " << ids.size() << "\nOutput:       " << output.text << "\n";
}

void second_call(beacon::Session& session, const nlohmann::json& example) {
  const auto ids = session.model().tokenizer().encode(example.at("context").get<std::string>());
  session.feed(ids, [](const beacon::Progress& progress) {
    std::cerr << "\rreading " << progress.tokens_done << " of " << progress.tokens_total << " tokens"
              << std::flush;
    return true;
  });
  std::cerr << "\n";
  const auto prediction = session.generate({.max_new_tokens = 20});
  const auto ledger = session.ledger();
  std::cout << std::string(20, '*') << "\nInput Length: " << ids.size()
            << "\nAnswer:       " << example.at("answer").dump() << "\nPrediction:   " << prediction.text
            << "\nMemory:       " << ledger.beacon_rows << " beacons, " << ledger.positions << " of "
            << ledger.max_positions << " positions\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: two_calls MODEL narrativeqa.json [ADAPTER]\n";
    return 2;
  }
  try {
    std::ifstream file(argv[2]);
    if (!file) throw std::runtime_error(std::string("cannot open ") + argv[2]);
    const auto example = nlohmann::json::parse(file);

    beacon::ModelOptions model_options{.model = argv[1]};
    if (argc == 4) model_options.adapter = argv[3];
    const auto model = beacon::Model::load(model_options);

    // Without a ratio the smallest one is taken that holds the first text fed after a reset.
    beacon::Session session(model);
    first_call(session);
    session.reset();
    second_call(session, example);
  } catch (const std::exception& error) {
    std::cerr << "two_calls: " << error.what() << "\n";
    return 1;
  }
}
