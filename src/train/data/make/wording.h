#pragma once
// Words and phrases that samples are varied with.
#include <fmt/args.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace beacon::train {

using Words = std::vector<std::string_view>;

const Words& first_names();
const Words& last_names();
const Words& places();
const Words& things();  // singular, without an article
const Words& professions();
const Words& secret_kinds();  // "pass key", "access code", ...
const Words& rooms();         // "kitchen", "lighthouse", ...

// A name of two words.
std::string draw_name(Random& random);
// Who or what a secret belongs to: most often a name, else "the kitchen", "the violin from Riga".
std::string draw_owner(Random& random);
// 3 to 7 digits, most often 5, the first not 0; now and then a word and digits.
std::string draw_secret(Random& random);

// Slots of a phrase such as "The {kind} is {value}."
using Slots = fmt::dynamic_format_arg_store<fmt::format_context>;
inline std::string fill(std::string_view phrase, const Slots& slots) { return fmt::vformat(phrase, slots); }

}  // namespace beacon::train
