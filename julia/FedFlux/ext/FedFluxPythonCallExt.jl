# What the Python front needs beyond the core: truth values of its callback.
module FedFluxPythonCallExt

using FedFlux: FedFlux
using PythonCall: Py, pyconvert

FedFlux.as_bool(x::Py) = pyconvert(Bool, x)

end
