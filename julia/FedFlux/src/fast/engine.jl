# The fast engine: common layers over preallocated memory.

struct LayerEngine <: Engine end

LayerEngine(model, loss, dims, maxbatch) = throw(Unsupported("the fast engine takes no layers yet"))
