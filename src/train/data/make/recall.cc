#include "train/data/make/recall.h"

#include <algorithm>

#include "base/check.h"
#include "train/data/make/wording.h"

namespace beacon::train {
namespace {

struct Named {
  Task task;
  const char* name;
};
constexpr Named kNames[] = {{Task::kPasskey, "passkey"},    {Task::kNeedle, "needle"},
                            {Task::kKeyValue, "key-value"}, {Task::kFacts, "facts"},
                            {Task::kContinue, "continue"},  {Task::kReconstruct, "reconstruct"},
                            {Task::kSeveral, "several"},    {Task::kDense, "dense"}};

// `owner` tells many secrets of a kind apart; empty: there is one. `kind_of_all` empty: any kind.
Recall passkey(std::string_view kind_of_all, const std::string& owner, UsedWords& used, Random& random) {
  static const Words kStatements = {
      "The {kind} is {value}. Remember it. {value} is the {kind}.",
      "Do not forget the {kind}: it is {value}.",
      "Note that the {kind} is {value}.",
      "By the way, the {kind} is {value}; somebody will ask for it later.",
      "(The {kind}: {value}.)",
      "Here is something that has nothing to do with the story: the {kind} is {value}.",
      "The {kind} that you will need is {value}."};
  static const Words kQuestions = {
      "What is the {kind}?", "Tell me the {kind}.", "The text mentions a {kind}. What is it?",
      "Which {kind} does the text give?", "I have forgotten the {kind}. What was it?"};
  static const Words kAnswers = {"The {kind} is {value}.", "The {kind} is {value}.", "It is {value}.",
                                 "{value}"};
  Slots slots;
  const auto draw_kind = [&] { return std::string(random.pick(secret_kinds())); };
  const std::string kind =
      owner.empty() ? used.fresh(draw_kind)
                    : fmt::format("{} of {}", kind_of_all.empty() ? draw_kind() : kind_of_all, owner);
  slots.push_back(fmt::arg("kind", kind));
  slots.push_back(fmt::arg("value", used.fresh([&] { return draw_secret(random); })));
  Recall recall;
  recall.planted.push_back(fill(random.pick(kStatements), slots));
  std::string ask = fill(random.pick(kQuestions), slots);
  recall.questions.push_back({std::move(ask), fill(random.pick(kAnswers), slots)});
  return recall;
}

struct Relation {
  std::string_view statement;
  std::vector<std::pair<std::string_view, std::string_view>> questions;  // with their answers
};

const std::vector<Relation>& relations() {
  static const std::vector<Relation> kRelations = {
      {"{who} was born in {where} in the year {year}.",
       {{"Where was {who} born?", "{who} was born in {where}."},
        {"In which year was {who} born?", "{who} was born in {year}."}}},
      {"{who} owns {count} of a kind of {thing} that nobody else in {where} has.",
       {{"How many of them does {who} own?", "{who} owns {count}."},
        {"What does {who} own that nobody else has?", "A kind of {thing}."}}},
      {"{who}, the {job} of {where}, never travels without {a_thing}.",
       {{"What does {who} never travel without?", "{A_thing}."},
        {"What is the profession of {who}?", "{who} is the {job} of {where}."}}},
      {"The {thing} of {who} lies in a cellar in {where}, behind door number {count}.",
       {{"Behind which door is the {thing} of {who}?", "Behind door number {count}."},
        {"In which town is the {thing} of {who}?", "In {where}."}}},
      {"In {year} a {job} called {who} paid {count} shillings for {a_thing}.",
       {{"What did {who} pay for the {thing}?", "{count} shillings."},
        {"What did {who} buy in {year}?", "{A_thing}."}}},
      {"{who} can be found every evening at number {count}, Bridge Street, {where}.",
       {{"At which number of Bridge Street can {who} be found?", "At number {count}."},
        {"In which town can {who} be found?", "In {where}."}}}};
  return kRelations;
}

Recall needle(UsedWords& used, Random& random) {
  Slots slots;
  slots.push_back(fmt::arg("who", used.fresh([&] { return draw_name(random); })));
  slots.push_back(fmt::arg("where", std::string(random.pick(places()))));
  const std::string thing(random.pick(things()));
  const bool vowel = std::string_view("aeiou").find(thing[0]) != std::string_view::npos;
  slots.push_back(fmt::arg("thing", thing));
  slots.push_back(fmt::arg("a_thing", (vowel ? "an " : "a ") + thing));
  slots.push_back(fmt::arg("A_thing", (vowel ? "An " : "A ") + thing));
  slots.push_back(fmt::arg("job", std::string(random.pick(professions()))));
  slots.push_back(fmt::arg("count", fmt::format("{}", random.between(3, 980))));
  slots.push_back(fmt::arg("year", fmt::format("{}", random.between(1640, 1930))));
  const Relation& relation = random.pick(relations());
  const auto& [ask, answer] = random.pick(relation.questions);
  return {{fill(relation.statement, slots)}, {{fill(ask, slots), fill(answer, slots)}}};
}

Recall facts(UsedWords& used, Random& random) {
  Recall all;
  const int64_t count = random.between(2, 5);
  for (int64_t i = 0; i < count; ++i) {
    const Recall one = needle(used, random);
    all.planted.push_back(one.planted[0]);
    all.questions.push_back(one.questions[0]);
  }
  random.shuffle(all.questions);
  const int64_t asked = random.between(1, count);
  all.questions.resize(static_cast<size_t>(asked));
  return all;
}

Recall key_value(int64_t most_entries, UsedWords& used, Random& random) {
  static const Words kTitles = {"List of {what}:", "Here follows a list of {what}.", "{what}, in no order:"};
  static const Words kWhat = {"account numbers", "room numbers", "debts in pounds", "telephone extensions",
                              "weights in grains"};
  static const Words kQuestions = {"What is the number of {key} in the list of {what}?",
                                   "Which number stands beside {key} in the list of {what}?",
                                   "Look up {key} in the list of {what}."};
  static const Words kAnswers = {"{value}", "{key}: {value}", "The number of {key} is {value}."};
  static const Words kLines = {"{key}: {value}", "{key} - {value}", "{key} = {value}"};
  const std::string what = used.fresh([&] { return std::string(random.pick(kWhat)); });
  const std::string_view line = random.pick(kLines);
  const int64_t entries = random.between(4, std::max<int64_t>(4, most_entries));
  Slots title;
  title.push_back(fmt::arg("what", what));
  std::string list = fill(random.pick(kTitles), title);
  std::vector<std::pair<std::string, std::string>> rows;
  for (int64_t i = 0; i < entries; ++i) {
    std::string name = used.fresh([&] { return draw_name(random); });
    rows.emplace_back(std::move(name), fmt::format("{}", random.between(100, 99999)));
    Slots slots;
    slots.push_back(fmt::arg("key", rows.back().first));
    slots.push_back(fmt::arg("value", rows.back().second));
    list += "\n" + fill(line, slots);
  }
  Recall recall;
  recall.planted.push_back(std::move(list));
  random.shuffle(rows);
  const int64_t asked = std::min<int64_t>(random.between(1, 3), entries);
  for (int64_t i = 0; i < asked; ++i) {
    Slots slots;
    slots.push_back(fmt::arg("what", what));
    slots.push_back(fmt::arg("key", rows[static_cast<size_t>(i)].first));
    slots.push_back(fmt::arg("value", rows[static_cast<size_t>(i)].second));
    std::string ask = fill(random.pick(kQuestions), slots);
    recall.questions.push_back({std::move(ask), fill(random.pick(kAnswers), slots)});
  }
  return recall;
}

Recall dense(int64_t count, UsedWords& used, Random& random) {
  Recall all;
  // Half of the texts have secrets of one kind, which nothing but their owners tells apart.
  const std::string_view kind = random.below(2) == 0 ? std::string_view() : random.pick(secret_kinds());
  for (int64_t i = 0; i < count; ++i) {
    const bool secret = random.below(2) == 0;
    // The first of several kinds stays without an owner: that is how single ones are asked for.
    const bool alone = i == 0 && kind.empty();
    const std::string owner = alone ? "" : used.fresh([&] { return draw_owner(random); });
    const Recall one = secret || alone ? passkey(kind, owner, used, random) : needle(used, random);
    all.planted.push_back(one.planted[0]);
    all.questions.push_back(one.questions[0]);
  }
  random.shuffle(all.planted);
  random.shuffle(all.questions);
  return all;
}

bool is_fair(const std::string& sentence) { return sentence.size() >= 40 && sentence.size() <= 300; }

}  // namespace

const char* to_string(Task task) {
  for (const Named& named : kNames)
    if (named.task == task) return named.name;
  return "unknown";
}

Task task_from_string(const std::string& name) {
  std::string choices;
  for (const Named& named : kNames) {
    if (name == named.name) return named.task;
    choices += (choices.empty() ? "" : ", ") + std::string(named.name);
  }
  fail(ErrorCode::kInvalidArgument, "task: expected one of {}, found '{}'", choices, name);
}

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> kAll = [] {
    std::vector<Task> tasks;
    for (const Named& named : kNames) tasks.push_back(named.task);
    return tasks;
  }();
  return kAll;
}

bool UsedWords::contains(const std::string& word) const {
  return std::find(words_.begin(), words_.end(), word) != words_.end();
}

Recall make_recall(Task task, int64_t entries, UsedWords& used, Random& random) {
  switch (task) {
    case Task::kPasskey:
      return passkey("", "", used, random);
    case Task::kNeedle:
      return needle(used, random);
    case Task::kKeyValue:
      return key_value(entries, used, random);
    case Task::kFacts:
      return facts(used, random);
    case Task::kDense:
      return dense(entries, used, random);
    case Task::kContinue:
    case Task::kReconstruct:
    case Task::kSeveral:
      break;
  }
  fail(ErrorCode::kInternal, "the task {} plants nothing", to_string(task));
}

std::optional<Follow> ask_what_follows(const Passage& passage, Random& random) {
  static const Words kQuestions = {"Which sentence comes right after this one: \"{given}\"",
                                   "What follows this sentence in the text? \"{given}\"",
                                   "Continue the text with its next sentence: {given}",
                                   "The text says: \"{given}\" What does it say next?"};
  std::vector<size_t> candidates;
  const auto& sentences = passage.sentences;
  for (size_t i = 0; i + 1 < sentences.size(); ++i) {
    const auto same = [&](const auto& other) { return other.text == sentences[i].text; };
    if (is_fair(sentences[i].text) && is_fair(sentences[i + 1].text) &&
        std::count_if(sentences.begin(), sentences.end(), same) == 1)
      candidates.push_back(i);
  }
  if (candidates.empty()) return std::nullopt;
  const size_t at = random.pick(candidates);
  Slots slots;
  slots.push_back(fmt::arg("given", sentences[at].text));
  return Follow{{fill(random.pick(kQuestions), slots), sentences[at + 1].text}, at};
}

}  // namespace beacon::train
