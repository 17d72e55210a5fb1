// Options to JSON and back; see peft_config.hpp.
#include <xgrad/nn/lora/peft_config.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include <xgrad/core/error.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

using Json = nlohmann::ordered_json;  // the first pattern that matches counts

constexpr std::array<std::pair<Bias, const char*>, 3> biases{
    {{Bias::none, "none"}, {Bias::all, "all"}, {Bias::lora_only, "lora_only"}}};

Json in_json(const Names& names) {
  return names.pattern.empty() ? Json(names.list) : Json(names.pattern);
}

template <class List>
Json or_null(const List& list) {
  return list.empty() ? Json() : Json(list);
}

template <class T>
Json in_json(const Patterns<T>& patterns) {
  Json result = Json::object();
  for (const auto& [pattern, value] : patterns) result[pattern] = value;
  return result;
}

/// Whole numbers as such, as PEFT writes its own.
Json in_json(double number) {
  const auto whole = static_cast<std::int64_t>(number);
  return static_cast<double>(whole) == number ? Json(whole) : Json(number);
}

/// Reads one file's object; every complaint names path and key.
class Reader {
 public:
  Reader(const std::string& text, const std::string& path) : path_(path) {
    object_ = Json::parse(text, nullptr, false);
    check(!object_.is_discarded() && object_.is_object(), "the file is not a JSON object");
  }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    require<std::runtime_error>(condition, "load \"", path_, "\": ", parts...);
  }

  /// The value at the key; null if it is not there.
  Json at(const char* key) const { return object_.value(key, Json()); }
  const Json& needed(const char* key) const {
    check(object_.contains(key) && !object_[key].is_null(), key, " is missing");
    return object_[key];
  }

  std::size_t count(const char* key, const Json& value) const {
    check(value.is_number_unsigned(), key, ": ", value.dump(), " is no count");
    return value.get<std::size_t>();
  }
  double number(const char* key, const Json& value) const {
    check(value.is_number(), key, ": ", value.dump(), " is no number");
    return value.get<double>();
  }
  bool flag(const char* key) const {
    const Json value = at(key);
    check(value.is_null() || value.is_boolean(), key, ": ", value.dump(),
          " is neither true nor false");
    return !value.is_null() && value.get<bool>();
  }
  std::string text(const char* key, const Json& value) const {
    check(value.is_string(), key, ": ", value.dump(), " is no text");
    return value.get<std::string>();
  }

  /// A list, of which one item may stand for itself and null for none.
  template <class Item>
  auto list(const char* key, const Item& item) const {
    std::vector<decltype(item(Json()))> result;
    const Json value = at(key);
    if (value.is_array())
      for (const Json& one : value) result.push_back(item(one));
    else if (!value.is_null())
      result.push_back(item(value));
    return result;
  }
  std::vector<std::string> texts(const char* key) const {
    return list(key, [&](const Json& value) { return text(key, value); });
  }
  Names names(const char* key) const {
    const Json value = at(key);
    return value.is_string() ? Names(value.get<std::string>()) : Names(texts(key));
  }
  template <class Item>
  auto patterns(const char* key, const Item& item) const {
    Patterns<decltype(item(Json()))> result;
    const Json value = at(key);
    check(value.is_null() || value.is_object(), key, ": ", value.dump(), " is no object");
    for (const auto& [pattern, one] : value.items()) result.emplace_back(pattern, item(one));
    return result;
  }

 private:
  const std::string& path_;
  Json object_;
};

/// What PEFT can do and this library cannot: to be absent, or null, false or empty.
constexpr const char* unsupported[] = {"alora_invocation_tokens",
                                       "arrow_config",
                                       "corda_config",
                                       "ensure_weight_tying",
                                       "eva_config",
                                       "kasa_config",
                                       "layer_replication",
                                       "loftq_config",
                                       "lora_bias",
                                       "lora_ga_config",
                                       "megatron_config",
                                       "monteclora_config",
                                       "target_parameters",
                                       "trainable_token_indices",
                                       "use_bdlora",
                                       "use_qalora",
                                       "velora_config"};

bool is_default(const Json& value) {
  return value.is_null() || (value.is_structured() && value.empty()) || value == Json(false);
}

/// Initial values that leave the base weight as it is. With the others ("pissa", "olora", …) the
/// file's factors belong to another base weight than the original.
bool keeps_base(const Json& init) {
  return init.is_null() || init.is_boolean() || init == Json("gaussian") ||
         init == Json("orthogonal") || init == Json("eva");
}

}  // namespace

std::string to_json(const Options& o) {
  Json json{{"alpha_pattern", Json::object()},
            {"auto_mapping", nullptr},
            {"base_model_name_or_path", nullptr},
            {"bias", std::find_if(biases.begin(), biases.end(), [&](const auto& bias) {
                       return bias.first == o.bias;
                     })->second}};
  for (const auto& [pattern, value] : o.alpha_pattern)
    json["alpha_pattern"][pattern] = in_json(value);
  // A key that old versions of PEFT do not know, and refuse.
  if (!o.exclude.empty()) json["exclude_modules"] = in_json(o.exclude);
  json["fan_in_fan_out"] = false;
  json["inference_mode"] = true;
  json["init_lora_weights"] = true;
  json["layers_pattern"] = or_null(o.layers_pattern);
  json["layers_to_transform"] = or_null(o.layers_to_transform);
  json["lora_alpha"] = in_json(o.alpha);
  json["lora_dropout"] = o.dropout;
  json["modules_to_save"] = or_null(o.modules_to_save);
  json["peft_type"] = "LORA";
  json["r"] = o.rank;
  json["rank_pattern"] = in_json(o.rank_pattern);
  json["revision"] = nullptr;
  json["target_modules"] = in_json(o.targets);
  json["task_type"] = nullptr;
  json["use_dora"] = o.dora;
  json["use_rslora"] = o.rank_stabilized;
  return json.dump(2) + '\n';
}

Options from_json(const std::string& text, const std::string& path) {
  const Reader reader(text, path);
  const std::string type = reader.text("peft_type", reader.needed("peft_type"));
  reader.check(type == "LORA", "peft_type is \"", type, "\", expected \"LORA\"");
  for (const char* key : unsupported) {
    const Json value = reader.at(key);
    reader.check(is_default(value), key, ": ", value.dump(), " is not supported");
  }
  const Json init = reader.at("init_lora_weights");
  reader.check(keeps_base(init), "init_lora_weights: ", init.dump(),
               " is not supported, since it changes the base weight; convert the adapter first");
  Options o;
  o.rank = reader.count("r", reader.needed("r"));
  o.alpha = reader.number("lora_alpha", reader.needed("lora_alpha"));
  reader.needed("target_modules");
  o.targets = reader.names("target_modules");
  o.exclude = reader.names("exclude_modules");
  if (const Json dropout = reader.at("lora_dropout"); !dropout.is_null())
    o.dropout = reader.number("lora_dropout", dropout);
  o.rank_stabilized = reader.flag("use_rslora");
  o.dora = reader.flag("use_dora");
  o.modules_to_save = reader.texts("modules_to_save");
  o.layers_pattern = reader.texts("layers_pattern");
  const auto count = [&](const char* key) {
    return [&reader, key](const Json& value) { return reader.count(key, value); };
  };
  o.layers_to_transform = reader.list("layers_to_transform", count("layers_to_transform"));
  o.rank_pattern = reader.patterns("rank_pattern", count("rank_pattern"));
  o.alpha_pattern = reader.patterns(
      "alpha_pattern", [&](const Json& value) { return reader.number("alpha_pattern", value); });
  if (const Json value = reader.at("bias"); !value.is_null()) {
    const std::string bias = reader.text("bias", value);
    const auto known = std::find_if(biases.begin(), biases.end(),
                                    [&](const auto& item) { return item.second == bias; });
    reader.check(known != biases.end(), "bias: \"", bias, "\" is unknown");
    o.bias = known->first;
  }
  return o;
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
