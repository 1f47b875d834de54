#pragma once
// Things to be remembered: what is planted in a text, and what is asked about it.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "train/data/make/passage.h"

namespace beacon::train {

enum class Task : uint8_t {
  kPasskey,      // a secret number
  kNeedle,       // one sentence about somebody, unlike the text around it
  kKeyValue,     // a list of names and numbers
  kFacts,        // several such sentences, spread out
  kContinue,     // which sentence of the text follows another
  kReconstruct,  // the text itself, word for word
  kSeveral,      // several of the others about one text, one turn after the other
  kDense,        // secret numbers and facts as close as they fit, every one of them asked for
};

// "passkey", "needle", "key-value", "facts", "continue", "reconstruct", "several", "dense". The second
// throws kInvalidArgument naming the choices.
const char* to_string(Task task);
Task task_from_string(const std::string& name);
const std::vector<Task>& all_tasks();

struct Question {
  std::string ask;
  std::string answer;  // holds what was planted letter for letter
};

// What one task adds to a text.
struct Recall {
  std::vector<std::string> planted;  // in the order they are to stand
  std::vector<Question> questions;
};

// Names and words that a text already uses, so that no question has two answers.
class UsedWords {
 public:
  // `draw` until it gives something new (any, after many tries).
  template <typename Draw>
  std::string fresh(const Draw& draw) {
    std::string word = draw();
    for (int tries = 0; tries < 200 && contains(word); ++tries) word = draw();
    words_.push_back(word);
    return word;
  }

 private:
  bool contains(const std::string& word) const;
  std::vector<std::string> words_;
};

// For every task but kContinue, kReconstruct and kSeveral. `entries` bounds the length of a list, and is the
// number of things that kDense plants.
Recall make_recall(Task task, int64_t entries, UsedWords& used, Random& random);

// Which sentence of a passage follows another.
struct Follow {
  Question question;
  size_t sentence = 0;  // the one given; nothing may be planted between it and the next
};

// Nothing when the passage has no two neighbouring sentences of a fair length of which the first comes once
// only.
std::optional<Follow> ask_what_follows(const Passage& passage, Random& random);

}  // namespace beacon::train
