#include "tests/unit/model/naive_forward.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

using Vec = std::vector<double>;

// Row-major [rows][cols].
struct Mat {
  int rows = 0;
  int cols = 0;
  Vec values;

  Vec operator*(const Vec& x) const {
    Vec y(rows, 0.0);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < cols; ++c) y[r] += values[static_cast<size_t>(r) * cols + c] * x[c];
    }
    return y;
  }
  Vec Row(int r) const {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(r) * cols;
    return Vec(begin, begin + cols);
  }
};

Mat FromFloats(const std::vector<float>& values, int rows, int cols) {
  return {rows, cols, Vec(values.begin(), values.end())};
}

class Naive {
 public:
  Naive(const GgufFile& file, std::span<const AdapterRef> adapters)
      : file_(file), adapters_(adapters) {
    arch_ = std::string(*file.GetString("general.architecture"));
    layers_ = Int("block_count");
    heads_ = Int("attention.head_count");
    kv_heads_ = Int("attention.head_count_kv");
    head_size_ = file.Has(arch_ + ".attention.key_length") ? Int("attention.key_length")
                                                           : Int("embedding_length") / heads_;
    epsilon_ = *file.GetFloat(arch_ + ".attention.layer_norm_rms_epsilon");
    base_ = *file.GetFloat(arch_ + ".rope.freq_base");
    scaling_ = *file.GetFloat(arch_ + ".rope.scaling.factor", 1.0);
    yarn_ = *file.GetString(arch_ + ".rope.scaling.type", "") == "yarn";
    keys_.resize(layers_);
    values_.resize(layers_);
  }

  Vec Step(int token, int position) {
    Vec x = Load("token_embd.weight").Row(token);
    for (int layer = 0; layer < layers_; ++layer) {
      const std::string p = "blk." + std::to_string(layer) + ".";
      const Vec attended = Attend(layer, position, Norm(x, Load(p + "attn_norm.weight").values));
      Add(x, Project(layer, Module::kO, attended));
      const Vec h = Norm(x, Load(p + "ffn_norm.weight").values);
      Vec gate = Project(layer, Module::kGate, h);
      const Vec up = Project(layer, Module::kUp, h);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      Add(x, Project(layer, Module::kDown, gate));
    }
    x = Norm(x, Load("output_norm.weight").values);
    const bool tied = file_.FindTensor("output.weight") == nullptr;
    return Load(tied ? "token_embd.weight" : "output.weight") * x;
  }

 private:
  int Int(const std::string& key) const {
    return static_cast<int>(*file_.GetInt(arch_ + "." + key));
  }

  Mat Load(const std::string& name) const {
    const GgufTensor* tensor = file_.FindTensor(name);
    LORIKEET_CHECK(tensor != nullptr);
    const int cols = static_cast<int>(tensor->row_length());
    const int rows = static_cast<int>(tensor->rows());
    std::vector<float> values(static_cast<size_t>(rows) * cols);
    DequantizeRow(tensor->type, tensor->data.data(), static_cast<int64_t>(values.size()),
                  values.data());
    return FromFloats(values, rows, cols);
  }

  static void Add(Vec& x, const Vec& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Vec Norm(const Vec& x, const Vec& weight) const {
    double square = 0;
    for (const double v : x) square += v * v;
    const double scale = 1 / std::sqrt(square / static_cast<double>(x.size()) + epsilon_);
    Vec y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
    return y;
  }

  Vec Project(int layer, Module module, const Vec& x) const {
    Vec y = Load(WeightName(layer, module)) * x;
    for (const AdapterRef& ref : adapters_) {
      for (const AdapterMatrix& m : ref.adapter->matrices) {
        if (m.target != AdapterTarget{layer, module}) continue;
        Vec h = FromFloats(m.a, m.rank, m.in_features) * x;
        if (!m.core.empty()) h = FromFloats(m.core, m.rank, m.rank) * h;
        Vec update = FromFloats(m.b, m.out_features, m.rank) * h;
        const double alpha = ref.adapter->info.alpha;
        const double scale = ref.scale * (alpha == 0 ? 1.0 : alpha / m.rank);
        for (double& v : update) v *= scale;
        Add(y, update);
      }
    }
    return y;
  }

  Vec WithBias(Vec y, int layer, const char* name) const {
    const std::string full = "blk." + std::to_string(layer) + "." + name;
    if (file_.FindTensor(full) != nullptr) Add(y, Load(full).values);
    return y;
  }

  void Rotate(Vec& x, int position) const {
    const int pairs = head_size_ / 2;
    Vec factors(pairs, 1.0);
    if (file_.FindTensor("rope_freqs.weight")) factors = Load("rope_freqs.weight").values;
    for (size_t head = 0; head < x.size(); head += head_size_) {
      for (int i = 0; i < pairs; ++i) {
        const double angle =
            position * std::pow(base_, -2.0 * i / head_size_) / factors[i] * Shrink(i);
        const bool half_split = arch_ != "llama";
        double& a = x[head + (half_split ? i : 2 * i)];
        double& b = x[head + (half_split ? i + pairs : 2 * i + 1)];
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        const double longer = yarn_ ? 1 + 0.1 * std::log(scaling_) : 1;
        b = (a * std::sin(angle) + b * std::cos(angle)) * longer;
        a = turned * longer;
      }
    }
  }

  // What scaling does to the frequency of pair i.  YaRN as its paper has it: full turns in the
  // original context decide, more than 32: nothing, fewer than 1: all, with whole pairs as borders.
  double Shrink(int i) const {
    if (!yarn_) return 1 / scaling_;
    const double original = Int("rope.scaling.original_context_length");
    const auto pair = [&](double turns) {
      return head_size_ * std::log(original / (turns * 2 * std::acos(-1.0))) / 2 / std::log(base_);
    };
    const double low = std::max(0.0, std::floor(pair(32)));
    const double high = std::min(head_size_ - 1.0, std::ceil(pair(1)));
    const double mix = std::min(1.0, std::max(0.0, (i - low) / (high - low)));
    return (1 - mix) + mix / scaling_;
  }

  void NormHeads(Vec& x, int layer, const char* name) const {
    if (arch_ != "qwen3") return;
    const Vec weight = Load("blk." + std::to_string(layer) + "." + name).values;
    for (size_t head = 0; head < x.size(); head += head_size_) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(head);
      const Vec normed = Norm(Vec(begin, begin + head_size_), weight);
      std::copy(normed.begin(), normed.end(), begin);
    }
  }

  Vec Attend(int layer, int position, const Vec& h) {
    Vec q = WithBias(Project(layer, Module::kQ, h), layer, "attn_q.bias");
    Vec k = WithBias(Project(layer, Module::kK, h), layer, "attn_k.bias");
    NormHeads(q, layer, "attn_q_norm.weight");
    NormHeads(k, layer, "attn_k_norm.weight");
    Rotate(q, position);
    Rotate(k, position);
    keys_[layer].push_back(std::move(k));
    values_[layer].push_back(WithBias(Project(layer, Module::kV, h), layer, "attn_v.bias"));
    Vec out(q.size(), 0.0);
    for (int head = 0; head < heads_; ++head) {
      const int kv = head / (heads_ / kv_heads_) * head_size_;
      Vec p;
      for (const Vec& key : keys_[layer]) {
        const auto query = q.begin() + static_cast<std::ptrdiff_t>(head) * head_size_;
        p.push_back(std::inner_product(query, query + head_size_, key.begin() + kv, 0.0) /
                    std::sqrt(static_cast<double>(head_size_)));
      }
      const double largest = *std::max_element(p.begin(), p.end());
      double total = 0;
      for (double& v : p) total += (v = std::exp(v - largest));
      for (size_t t = 0; t < p.size(); ++t) {
        for (int i = 0; i < head_size_; ++i) {
          out[static_cast<size_t>(head) * head_size_ + i] +=
              p[t] / total * values_[layer][t][static_cast<size_t>(kv) + i];
        }
      }
    }
    return out;
  }

  const GgufFile& file_;
  std::span<const AdapterRef> adapters_;
  std::string arch_;
  int layers_, heads_, kv_heads_, head_size_;
  double epsilon_, base_, scaling_;
  bool yarn_;
  std::vector<std::vector<Vec>> keys_, values_;
};

}  // namespace

std::vector<std::vector<double>> NaiveLogits(const GgufFile& file, std::span<const int> tokens,
                                             std::span<const AdapterRef> adapters) {
  Naive naive(file, adapters);
  std::vector<Vec> logits;
  for (size_t t = 0; t < tokens.size(); ++t) {
    logits.push_back(naive.Step(tokens[t], static_cast<int>(t)));
  }
  return logits;
}

Adapter RandomAdapter(const GgufFile& file, AdapterKind kind, int rank,
                      const std::vector<Module>& modules, uint64_t seed) {
  Adapter adapter;
  adapter.info.architecture = std::string(*file.GetString("general.architecture"));
  adapter.info.kind = kind;
  adapter.info.alpha = 2.0f * static_cast<float>(rank);
  const int layers = static_cast<int>(*file.GetInt(adapter.info.architecture + ".block_count"));
  Rng rng(seed);
  const auto random = [&](int count, double spread) {
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>(spread * rng.Normal());
    return values;
  };
  for (int layer = 0; layer < layers; ++layer) {
    for (const Module module : modules) {
      const GgufTensor* weight = file.FindTensor(WeightName(layer, module));
      AdapterMatrix m;
      m.target = {layer, module};
      m.rank = rank;
      m.in_features = static_cast<int>(weight->row_length());
      m.out_features = static_cast<int>(weight->rows());
      m.a = random(rank * m.in_features, 1 / std::sqrt(m.in_features));
      m.b = random(rank * m.out_features, 0.3);
      if (kind == AdapterKind::kCore) m.core = random(rank * rank, 0.5);
      adapter.matrices.push_back(std::move(m));
    }
  }
  return adapter;
}

double RelativeRms(std::span<const double> expected, std::span<const float> got) {
  LORIKEET_CHECK(expected.size() == got.size());
  const double mean =
      std::accumulate(expected.begin(), expected.end(), 0.0) / static_cast<double>(expected.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += (expected[i] - mean) * (expected[i] - mean);
  }
  return std::sqrt(error / size);
}

}  // namespace lorikeet
