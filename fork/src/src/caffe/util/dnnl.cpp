#ifdef USE_DNNL

#include "caffe/util/dnnl.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "caffe/util/host_memory.hpp"

namespace caffe {

bool DnnlIsDefault() {
  const char* value = std::getenv("CAFFE_ENGINE");
  const std::string engine = value ? value : "";
  CHECK(engine.empty() || engine == "CAFFE" || engine == "DNNL")
      << "CAFFE_ENGINE in the environment is " << engine << "; it can be DNNL, which "
      << "is the default, or CAFFE.";
  return engine != "CAFFE" && Caffe::mode() == Caffe::CPU;
}

bool DnnlWinograd() {
  const char* value = std::getenv("CAFFE_DNNL_WINOGRAD");
  const std::string winograd = value ? value : "";
  CHECK(winograd.empty() || winograd == "0" || winograd == "1")
      << "CAFFE_DNNL_WINOGRAD in the environment is " << winograd << "; it can be 1, "
      << "which is the default, or 0 for direct convolutions.";
  return winograd != "0";
}

const dnnl::engine& DnnlEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

static const dnnl::stream& Stream() {
  static thread_local const dnnl::stream stream(DnnlEngine());
  return stream;
}

dnnl::primitive_attr DnnlAttributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

dnnl::memory::desc DnnlPlain(const dnnl::memory::dims& dims) {
  dnnl::memory::dims strides(dims.size(), 1);
  for (int i = dims.size() - 2; i >= 0; --i) {
    strides[i] = strides[i + 1] * dims[i + 1];
  }
  return dnnl::memory::desc(dims, dnnl::memory::data_type::f32, strides);
}

dnnl::memory DnnlMemory(const dnnl::memory::desc& desc, const float* data) {
  return dnnl::memory(desc, DnnlEngine(), const_cast<float*>(data));
}

// N x C x ... in blocks of so many channels; 1 to 3 spatial axes.
static dnnl::memory::desc InBlocks(const dnnl::memory::dims& dims, int block) {
  typedef dnnl::memory::format_tag Tag;
  static const Tag kTags[][2] = {
    {Tag::nCw8c, Tag::nCw16c}, {Tag::nChw8c, Tag::nChw16c}, {Tag::nCdhw8c, Tag::nCdhw16c}
  };
  return dnnl::memory::desc(dims, dnnl::memory::data_type::f32,
                            kTags[dims.size() - 3][block == 16]);
}

// Whether a blob's second axis is the channels' and the first one the images'.
static bool IsOf(const BlobArray& array, const dnnl::memory::dims& dims) {
  return dims.size() >= 3 && array.channels() == static_cast<size_t>(dims[1])
      && array.planes() == static_cast<size_t>(dims[0] * dims[1]);
}

dnnl::memory DnnlRead(const BlobArray& array, const dnnl::memory::desc& plain) {
  const int block = array.block();
  if (block > 1 && IsOf(array, plain.dims())) {
    return DnnlMemory(InBlocks(plain.dims(), block), array.Read<float>(block));
  }
  return DnnlMemory(plain, array.Read<float>(1));
}

dnnl::memory DnnlOverwrite(const BlobArray& array, const dnnl::memory::desc& plain,
                           const dnnl::memory::desc& wanted) {
  for (int block : {8, 16}) {
    if (IsOf(array, plain.dims()) && array.TakesBlocks(block)
        && wanted == InBlocks(plain.dims(), block)) {
      return DnnlMemory(wanted, array.Overwrite<float>(block));
    }
  }
  return DnnlMemory(plain, array.Overwrite<float>(1));
}

// --- scratch memory

struct ScratchDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

// A thread's: pieces that were taken one after another. More than one only until it is
// known how much is needed.
struct ScratchPool {
  struct Chunk {
    std::unique_ptr<void, ScratchDeleter> memory;
    size_t size;
  };
  vector<Chunk> chunks;
  size_t used;  // of the last chunk
  bool busy;
};

static ScratchPool& Pool() {
  static thread_local ScratchPool pool;
  return pool;
}

static void AddChunk(ScratchPool* pool, size_t size) {
  void* memory = AllocateHost(size);
  CHECK(memory) << "there are no " << size << " bytes of memory for a layer to work in";
  pool->chunks.emplace_back();
  pool->chunks.back().memory.reset(memory);
  pool->chunks.back().size = size;
  pool->used = 0;
}

DnnlScratch::DnnlScratch() {
  CHECK(!Pool().busy) << "a thread has one DnnlScratch at a time";
  Pool().busy = true;
}

DnnlScratch::~DnnlScratch() {
  ScratchPool& pool = Pool();
  pool.busy = false;
  pool.used = 0;
  if (pool.chunks.size() > 1) {
    size_t size = 0;
    for (const ScratchPool::Chunk& chunk : pool.chunks) {
      size += chunk.size;
    }
    pool.chunks.clear();
    AddChunk(&pool, size);
  }
}

void* DnnlScratch::Take(size_t bytes) {
  ScratchPool& pool = Pool();
  const size_t size = std::max(bytes + kCacheLine - 1, kCacheLine)
      / kCacheLine * kCacheLine;
  if (pool.chunks.empty() || pool.used + size > pool.chunks.back().size) {
    AddChunk(&pool, size);
  }
  void* memory = static_cast<char*>(pool.chunks.back().memory.get()) + pool.used;
  pool.used += size;
  return memory;
}

dnnl::memory DnnlScratch::Take(const dnnl::memory::desc& desc) {
  return dnnl::memory(desc, DnnlEngine(), Take(desc.get_size()));
}

// --- calls

static void Execute(const dnnl::primitive& primitive,
                    const dnnl::memory::desc& scratchpad,
                    std::unordered_map<int, dnnl::memory>* arguments,
                    DnnlScratch* scratch) {
  if (scratchpad.get_size() > 0) {
    (*arguments)[DNNL_ARG_SCRATCHPAD] = scratch->Take(scratchpad);
  }
  primitive.execute(Stream(), *arguments);
}

void DnnlReorders::Run(const dnnl::memory& from, const dnnl::memory& to, bool add,
                       DnnlScratch* scratch) {
  const dnnl::memory::desc from_desc = from.get_desc();
  const dnnl::memory::desc to_desc = to.get_desc();
  std::list<Reorder>::iterator found = std::find_if(reorders_.begin(), reorders_.end(),
      [&](const Reorder& reorder) {
        return reorder.add == add && reorder.from == from_desc && reorder.to == to_desc;
      });
  if (found == reorders_.end()) {
    dnnl::primitive_attr attributes = DnnlAttributes();
    if (add) {
      dnnl::post_ops post_ops;
      post_ops.append_sum(1);
      attributes.set_post_ops(post_ops);
    }
    const dnnl::reorder::primitive_desc desc(DnnlEngine(), from_desc, DnnlEngine(),
        to_desc, attributes);
    reorders_.push_front(Reorder{from_desc, to_desc, desc.scratchpad_desc(), add,
        dnnl::reorder(desc)});
    found = reorders_.begin();
  }
  std::unordered_map<int, dnnl::memory> arguments = {
    {DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}
  };
  Execute(found->primitive, found->scratchpad, &arguments, scratch);
}

dnnl::memory DnnlCall::Converted(const dnnl::memory& memory,
                                 const dnnl::memory::desc& wanted) {
  if (memory.get_desc() == wanted) {
    return memory;
  }
  for (const std::pair<dnnl::memory, dnnl::memory>& known : converted_) {
    if (known.first.get_data_handle() == memory.get_data_handle()
        && known.first.get_desc() == memory.get_desc()
        && known.second.get_desc() == wanted) {
      return known.second;
    }
  }
  const dnnl::memory converted = scratch_.Take(wanted);
  reorders_->Run(memory, converted, false, &scratch_);
  converted_.push_back(std::make_pair(memory, converted));
  return converted;
}

void DnnlCall::Run(const DnnlPrimitive& primitive, const vector<Input>& inputs,
                   const vector<Output>& outputs) {
  std::unordered_map<int, dnnl::memory> arguments;
  for (const Input& input : inputs) {
    arguments[input.argument] = Converted(input.memory, input.wanted);
  }
  for (const Output& output : outputs) {
    arguments[output.argument] = !output.add && output.memory.get_desc() == output.wanted
        ? output.memory : scratch_.Take(output.wanted);
  }
  Execute(primitive.primitive, primitive.scratchpad, &arguments, &scratch_);
  for (const Output& output : outputs) {
    const dnnl::memory& result = arguments[output.argument];
    if (result.get_data_handle() != output.memory.get_data_handle()) {
      reorders_->Run(result, output.memory, output.add, &scratch_);
    }
  }
}

}  // namespace caffe

#endif  // USE_DNNL
