// The protobuf of .model files, by hand: five kinds of fields of three messages.
#include <cstring>
#include <limits>

#include "base/check.h"
#include "tokenizer/sentencepiece_model.h"

namespace beacon {
namespace {

// Field numbers of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec.
constexpr uint32_t kModelPieces = 1, kModelTrainer = 2, kModelNormalizer = 3;
constexpr uint32_t kPieceText = 1, kPieceScore = 2, kPieceType = 3;
constexpr uint32_t kTrainerModelType = 3, kTrainerSuffix = 24, kTrainerByteFallback = 35,
                   kTrainerUnkSurface = 44, kTrainerBosPiece = 46, kTrainerEosPiece = 47;
constexpr uint32_t kNormalizerCharsmap = 2, kNormalizerDummyPrefix = 3, kNormalizerExtraSpaces = 4,
                   kNormalizerEscape = 5;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;
  uint64_t value = 0;      // of a varint or fixed number
  std::string_view bytes;  // of a length-delimited one
};

// Walks the fields of one message.
class ProtoReader {
 public:
  ProtoReader(std::string_view data, const std::string& what) : data_(data), what_(what) {}

  bool next(Field& field) {
    if (data_.empty()) return false;
    const uint64_t tag = varint();
    field = {static_cast<uint32_t>(tag >> 3), static_cast<uint32_t>(tag & 7), 0, {}};
    require(tag >> 3 != 0 && tag <= std::numeric_limits<uint32_t>::max(), ErrorCode::kBadFile,
            "{}: expected a SentencePiece model, found a protobuf field without a number", what_);
    switch (field.wire) {
      case kVarint:
        field.value = varint();
        break;
      case kFixed64:
        field.value = fixed(8);
        break;
      case kFixed32:
        field.value = fixed(4);
        break;
      case kBytes:
        field.bytes = take(varint());
        break;
      default:
        fail(ErrorCode::kBadFile, "{}: expected a SentencePiece model, found protobuf wire type {}", what_,
             field.wire);
    }
    return true;
  }

 private:
  std::string_view take(uint64_t count) {
    require(count <= data_.size(), ErrorCode::kBadFile,
            "{}: truncated or not a SentencePiece model: a field of {} bytes, {} are left", what_, count,
            data_.size());
    const std::string_view taken = data_.substr(0, count);
    data_.remove_prefix(count);
    return taken;
  }
  uint64_t fixed(size_t count) {
    uint64_t value = 0;
    std::memcpy(&value, take(count).data(), count);
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    fail(ErrorCode::kBadFile, "{}: expected a SentencePiece model, found an endless protobuf number", what_);
  }

  std::string_view data_;
  const std::string& what_;
};

void expect(const Field& field, WireType wire, const std::string& what) {
  require(field.wire == wire, ErrorCode::kBadFile, "{}: expected protobuf wire type {} in field {}, found {}",
          what, static_cast<uint32_t>(wire), field.number, field.wire);
}

SentencePiece read_piece(std::string_view data, const std::string& what) {
  SentencePiece piece;
  ProtoReader reader(data, what);
  for (Field field; reader.next(field);) {
    if (field.number == kPieceText) {
      expect(field, kBytes, what);
      piece.text = field.bytes;
    } else if (field.number == kPieceScore) {
      expect(field, kFixed32, what);
      const auto bits = static_cast<uint32_t>(field.value);
      std::memcpy(&piece.score, &bits, sizeof(bits));
    } else if (field.number == kPieceType) {
      expect(field, kVarint, what);
      require(field.value >= 1 && field.value <= 6, ErrorCode::kBadFile,
              "{}: expected a piece type of 1 to 6, found {}", what, field.value);
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  return piece;
}

void read_trainer(std::string_view data, const std::string& what, SentencePieceModel& model) {
  ProtoReader reader(data, what);
  for (Field field; reader.next(field);) {
    switch (field.number) {
      case kTrainerModelType:
        expect(field, kVarint, what);
        require(field.value == 1 || field.value == 2, ErrorCode::kUnsupported,
                "{}: expected a unigram or BPE model, found model type {} (3 is word, 4 is char)", what,
                field.value);
        model.kind = static_cast<SentencePieceModel::Kind>(field.value);
        break;
      case kTrainerSuffix:
        expect(field, kVarint, what);
        model.whitespace_as_suffix = field.value != 0;
        break;
      case kTrainerByteFallback:
        expect(field, kVarint, what);
        model.byte_fallback = field.value != 0;
        break;
      case kTrainerUnkSurface:
        expect(field, kBytes, what);
        model.unk_surface = field.bytes;
        break;
      case kTrainerBosPiece:
        expect(field, kBytes, what);
        model.bos_piece = field.bytes;
        break;
      case kTrainerEosPiece:
        expect(field, kBytes, what);
        model.eos_piece = field.bytes;
        break;
      default:
        break;
    }
  }
}

void read_normalizer(std::string_view data, const std::string& what, SentencePieceModel& model) {
  ProtoReader reader(data, what);
  for (Field field; reader.next(field);) {
    const auto read_flag = [&](bool& flag) {
      expect(field, kVarint, what);
      flag = field.value != 0;
    };
    if (field.number == kNormalizerCharsmap) {
      expect(field, kBytes, what);
      model.charsmap = field.bytes;
    } else if (field.number == kNormalizerDummyPrefix) {
      read_flag(model.add_dummy_prefix);
    } else if (field.number == kNormalizerExtraSpaces) {
      read_flag(model.remove_extra_whitespaces);
    } else if (field.number == kNormalizerEscape) {
      read_flag(model.escape_whitespaces);
    }
  }
}

// Appends fields to a message.
class ProtoWriter {
 public:
  void put_number(uint32_t field, uint64_t value) {
    put_varint(uint64_t{field} << 3 | kVarint);
    put_varint(value);
  }
  void put_float(uint32_t field, float value) {
    put_varint(uint64_t{field} << 3 | kFixed32);
    char bytes[4];
    std::memcpy(bytes, &value, 4);
    out_.append(bytes, 4);
  }
  void put_bytes(uint32_t field, std::string_view value) {
    put_varint(uint64_t{field} << 3 | kBytes);
    put_varint(value.size());
    out_.append(value);
  }
  std::string take() { return std::move(out_); }

 private:
  void put_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }
  std::string out_;
};

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::span<const std::byte> bytes, const std::string& what) {
  SentencePieceModel model;
  ProtoReader reader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, what);
  for (Field field; reader.next(field);) {
    if (field.number > kModelNormalizer || field.number == 0) continue;
    expect(field, kBytes, what);
    if (field.number == kModelPieces)
      model.pieces.push_back(read_piece(field.bytes, what));
    else if (field.number == kModelTrainer)
      read_trainer(field.bytes, what, model);
    else
      read_normalizer(field.bytes, what, model);
  }
  check_sentencepiece_model(model, what);
  return model;
}

std::string serialize_sentencepiece_model(const SentencePieceModel& model) {
  ProtoWriter out;
  for (const SentencePiece& piece : model.pieces) {
    ProtoWriter message;
    message.put_bytes(kPieceText, piece.text);
    message.put_float(kPieceScore, piece.score);
    message.put_number(kPieceType, static_cast<uint64_t>(piece.type));
    out.put_bytes(kModelPieces, message.take());
  }
  ProtoWriter trainer;
  trainer.put_number(kTrainerModelType, static_cast<uint64_t>(model.kind));
  trainer.put_number(kTrainerSuffix, model.whitespace_as_suffix);
  trainer.put_number(kTrainerByteFallback, model.byte_fallback);
  trainer.put_bytes(kTrainerUnkSurface, model.unk_surface);
  out.put_bytes(kModelTrainer, trainer.take());
  ProtoWriter normalizer;
  normalizer.put_bytes(kNormalizerCharsmap, model.charsmap);
  normalizer.put_number(kNormalizerDummyPrefix, model.add_dummy_prefix);
  normalizer.put_number(kNormalizerExtraSpaces, model.remove_extra_whitespaces);
  normalizer.put_number(kNormalizerEscape, model.escape_whitespaces);
  out.put_bytes(kModelNormalizer, normalizer.take());
  return out.take();
}

}  // namespace beacon
