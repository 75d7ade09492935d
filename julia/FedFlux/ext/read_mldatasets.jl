# Data sets by MLDatasets.jl, their download accepted without a prompt: for the extension,
# and for a process of its own in another project.
module ReadMLDatasets

using MLDatasets: MLDatasets

"""
    read_arrays(name, part, dir) -> (x, y, x_test, y_test)

The images and labels of a data set, or a `part` of it, in the folder `dir`, or where
MLDatasets keeps them. MNIST's images are Float32, all others bytes. The labels of CIFAR-100
are the fine ones, and those of house numbers are digits.
"""
function read_arrays(name, part, dir)
    dir = dir === nothing ? nothing : abspath(expanduser(dir))
    # If a download fails, DataDeps removes the whole folder, and this one is the user's.
    keep = dir === nothing ? () : ("DATADEPS_DISABLE_ERROR_CLEANUP" => "true",)
    train, test = withenv("DATADEPS_ALWAYS_ACCEPT" => "true", keep...) do
        read_split(name, part, :train, dir), read_split(name, part, :test, dir)
    end
    return train.features, labels(name, train), test.features, labels(name, test)
end

function read_split(name, part, split, dir)
    name == "mnist" && return MLDatasets.MNIST(; Tx = Float32, split, dir)
    name == "fashionmnist" && return MLDatasets.FashionMNIST(; Tx = Float32, split, dir)
    name == "cifar10" && return MLDatasets.CIFAR10(; Tx = UInt8, split, dir)
    name == "cifar100" && return MLDatasets.CIFAR100(; Tx = UInt8, split, dir)
    name == "svhn" && return MLDatasets.SVHN2(; Tx = UInt8, split, dir)
    return MLDatasets.EMNIST(Symbol(part); Tx = UInt8, split, dir)
end

labels(name, data) =
    name == "cifar100" ? data.targets.fine :
    name == "svhn" ? data.targets .% 10 : data.targets

end
