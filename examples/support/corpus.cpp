// Reads text, maps bytes to ids and back, and holds out the last tenth.
// Where headers lie is the build's to say: XGRAD_XTENSOR_INCLUDE, folders separated by semicolons.
#include "corpus.hpp"

#include <algorithm>
#include <array>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <xgrad/core/files.hpp>

#ifndef XGRAD_XTENSOR_INCLUDE
#define XGRAD_XTENSOR_INCLUDE ""
#endif

namespace examples {
namespace {

namespace fs = std::filesystem;

// Bytes that are no printable ASCII are shown by their number alone.
std::string describe(unsigned char byte) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text = {'0', 'x', digits[byte / 16], digits[byte % 16]};
  if (byte > 0x20 && byte < 0x7f) text += std::string(" '") + static_cast<char>(byte) + "'";
  return text;
}

/// The files below `folder` that are wanted, one after the other.
template <class Wanted>
std::string concatenate(const fs::path& folder, const Wanted& wanted) {
  std::vector<std::string> paths;  // as text, so that the order is that of bytes on every system
  if (fs::is_directory(folder))
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && wanted(entry)) paths.push_back(entry.path().generic_string());
  std::sort(paths.begin(), paths.end());
  std::string text;
  for (const std::string& path : paths) text += xgrad::read_file(path);
  return text;
}

}  // namespace

std::string read_text(const std::string& path) {
  std::string text = xgrad::read_file(path);
  if (text.empty()) throw std::runtime_error("read: \"" + path + "\" is empty");
  return text;
}

std::string concatenate_headers(const fs::path& folder) {
  return concatenate(
      folder, [](const fs::directory_entry& file) { return file.path().extension() == ".hpp"; });
}

std::string licence_texts(const fs::path& folder) {
  return concatenate(folder, [](const fs::directory_entry& file) { return !file.is_symlink(); });
}

std::string default_corpus() {
  std::istringstream folders(XGRAD_XTENSOR_INCLUDE ";/usr/include/xtensor");
  std::string searched;
  for (std::string folder; std::getline(folders, folder, ';');) {
    if (folder.empty()) continue;
    std::string text = concatenate_headers(folder);
    if (!text.empty()) return text;
    searched += (searched.empty() ? "" : ", ") + folder;
  }
  throw std::runtime_error("no xtensor headers to train on in " + searched +
                           ": name a text with --data FILE");
}

std::uint64_t fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

CharVocabulary CharVocabulary::of(std::string_view text) {
  std::array<bool, 256> occurs{};
  for (const char c : text) occurs[static_cast<unsigned char>(c)] = true;
  CharVocabulary vocabulary;
  for (std::size_t byte = 0; byte < occurs.size(); ++byte) {
    if (occurs[byte]) vocabulary.bytes.push_back(static_cast<unsigned char>(byte));
  }
  return vocabulary;
}

std::vector<std::int64_t> CharVocabulary::encode(std::string_view text) const {
  std::array<std::int64_t, 256> id_of;
  id_of.fill(-1);
  for (std::size_t id = 0; id < bytes.size(); ++id)
    id_of[bytes[id]] = static_cast<std::int64_t>(id);
  std::vector<std::int64_t> ids(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    ids[i] = id_of[byte];
    if (ids[i] < 0) {
      throw std::invalid_argument("encode: byte " + describe(byte) + " at position " +
                                  std::to_string(i) + " is not among the " +
                                  std::to_string(size()) + " of the vocabulary");
    }
  }
  return ids;
}

std::string CharVocabulary::decode(std::span<const std::int64_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int64_t id : ids) {
    if (id < 0 || std::cmp_greater_equal(id, size())) {
      throw std::out_of_range("decode: id " + std::to_string(id) +
                              " is not below the vocabulary's size, " + std::to_string(size()));
    }
    text += static_cast<char>(bytes[static_cast<std::size_t>(id)]);
  }
  return text;
}

Split::Split(std::span<const std::int64_t> ids) {
  const std::size_t train_size = ids.size() * 9 / 10;
  train.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(train_size));
  validation.assign(ids.begin() + static_cast<std::ptrdiff_t>(train_size), ids.end());
}

}  // namespace examples
