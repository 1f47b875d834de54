#include "train/data/make/wording.h"

namespace beacon::train {

const Words& first_names() {
  static const Words kWords = {"Ada",      "Albert",   "Beatrix", "Bruno",  "Clara",  "Conrad",  "Della",
                               "Edmund",   "Elspeth",  "Felix",   "Greta",  "Gideon", "Hester",  "Hugo",
                               "Ingrid",   "Ivo",      "Jocelyn", "Julius", "Katrin", "Lambert", "Lydia",
                               "Magnus",   "Minna",    "Nestor",  "Odette", "Otis",   "Petra",   "Quentin",
                               "Rosamund", "Rufus",    "Selma",   "Silas",  "Thea",   "Tobias",  "Ursula",
                               "Victor",   "Winifred", "Yorick",  "Zelda",  "Zeno"};
  return kWords;
}

const Words& last_names() {
  static const Words kWords = {"Abernathy",   "Barlow",       "Cavendish",   "Dunmore",     "Eastlake",
                               "Fairweather", "Garrick",      "Hollis",      "Inchbald",    "Jessop",
                               "Kettering",   "Lovelace",     "Marchbanks",  "Nightingale", "Ormond",
                               "Penhallow",   "Quillfeather", "Ravenscroft", "Satterly",    "Thistlewood",
                               "Underhill",   "Vance",        "Whitcombe",   "Yarrow",      "Zimmer",
                               "Ashdown",     "Bellweather",  "Crowhurst",   "Drummond",    "Ellery"};
  return kWords;
}

const Words& places() {
  static const Words kWords = {"Lisbon",  "Bergen",     "Antwerp",   "Trieste", "Cork",      "Odense",
                               "Ghent",   "Salzburg",   "Toledo",    "Uppsala", "Valletta",  "Riga",
                               "Bruges",  "Kilkenny",   "Marseille", "Galway",  "Aberdeen",  "Ravenna",
                               "Utrecht", "Heidelberg", "Tartu",     "Coimbra", "Inverness", "Lucerne",
                               "Malmo",   "Norwich",    "Oporto",    "Palermo", "Rouen",     "Siena",
                               "Turku",   "Verona",     "Wexford",   "York",    "Zurich"};
  return kWords;
}

const Words& things() {
  static const Words kWords = {
      "brass lantern", "pocket watch",  "violin",      "silver spoon", "sea chest",   "green umbrella",
      "music box",     "copper kettle", "glass eye",   "wooden horse", "bronze bell", "map",
      "telescope",     "blue teapot",   "ivory comb",  "red ledger",   "compass",     "clay pipe",
      "velvet glove",  "iron key",      "painted fan", "sundial",      "harp",        "leather purse",
      "tin whistle",   "marble bust",   "snuff box",   "chess set",    "oil lamp",    "walking stick"};
  return kWords;
}

const Words& professions() {
  static const Words kWords = {"baker",         "clockmaker",    "ferryman",   "gardener",   "glazier",
                               "harbour pilot", "librarian",     "locksmith",  "midwife",    "miller",
                               "notary",        "organ builder", "postmaster", "saddler",    "schoolmaster",
                               "shipwright",    "surgeon",       "tailor",     "typesetter", "vintner"};
  return kWords;
}

const Words& secret_kinds() {
  static const Words kWords = {
      "pass key",          "access code",      "secret number",       "password",
      "ticket number",     "code of the safe", "registration number", "number of the locker",
      "membership number", "confirmation code"};
  return kWords;
}

const Words& rooms() {
  static const Words kWords = {"library",    "kitchen",    "stable",    "chapel",  "attic",   "cellar",
                               "garden",     "study",      "tower",     "nursery", "pantry",  "workshop",
                               "gallery",    "orchard",    "boathouse", "laundry", "armoury", "bakery",
                               "guest room", "lighthouse", "mill",      "school",  "theatre", "vault"};
  return kWords;
}

std::string draw_name(Random& random) {
  const std::string_view first = random.pick(first_names());
  return fmt::format("{} {}", first, random.pick(last_names()));
}

std::string draw_owner(Random& random) {
  switch (random.below(4)) {
    case 0:
      return fmt::format("the {}", random.pick(rooms()));
    case 1: {
      const std::string_view thing = random.pick(things());
      return fmt::format("the {} from {}", thing, random.pick(places()));
    }
    default:
      return draw_name(random);
  }
}

std::string draw_secret(Random& random) {
  static const Words kCodeWords = {"amber",   "falcon", "juniper", "cobalt",
                                   "saffron", "willow", "granite", "ember"};
  if (random.below(8) == 0) {
    const std::string_view word = random.pick(kCodeWords);
    return fmt::format("{}-{}", word, random.between(10, 9999));
  }
  const int64_t digits = random.below(2) == 0 ? 5 : random.between(3, 7);
  int64_t low = 1;
  for (int64_t i = 1; i < digits; ++i) low *= 10;
  return fmt::format("{}", random.between(low, 10 * low - 1));
}

}  // namespace beacon::train
