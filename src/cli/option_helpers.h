#pragma once
// Filling fields of the public option structs from the command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>

namespace beacon::cli {

// A check for options that take a whole number from `least` to `most`.
template <typename Integer>
auto whole_number(Integer least, Integer most = std::numeric_limits<Integer>::max()) {
  return [least, most](const std::string& word) {
    Integer value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    const bool whole = error == std::errc() && end == word.data() + word.size();
    return whole && value >= least && value <= most
               ? std::string()
               : fmt::format("expected a whole number from {} to {}, found '{}'", least, most, word);
  };
}

// An option for a field that may stay unset; the description says what unset means.
template <typename T>
CLI::Option* add_optional(CLI::App& command, const std::string& name, std::optional<T>& field,
                          const std::string& description) {
  return command.add_option_function<T>(
      name, [&field](const T& value) { field = value; }, description);
}

inline CLI::Option* add_path(CLI::App& command, const std::string& name, std::filesystem::path& field,
                             const std::string& description) {
  return command
      .add_option_function<std::string>(
          name, [&field](const std::string& value) { field = value; }, description)
      ->type_name("PATH");
}

// One of several words; help lists them and names the field's present value as default.
template <typename Enum>
CLI::Option* add_choice(CLI::App& command, const std::string& name, Enum& field,
                        const std::map<std::string, Enum>& choices, const std::string& description) {
  std::string words, initial;
  for (const auto& [word, value] : choices) {
    words += (words.empty() ? "" : "|") + word;
    if (value == field) initial = word;
  }
  return command
      .add_option_function<std::string>(
          name, [&field, choices](const std::string& word) { field = choices.at(word); }, description)
      ->check([choices, words](const std::string& word) {
        return choices.count(word) ? std::string() : "expected one of " + words + ", found '" + word + "'";
      })
      ->type_name(words)
      ->default_str(initial);
}

}  // namespace beacon::cli
