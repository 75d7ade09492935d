# MNIST and FashionMNIST by MLDatasets.jl, their download accepted without a prompt: for the
# extension, and for a process of its own in another project.
module ReadMLDatasets

using MLDatasets: MNIST, FashionMNIST

"""
    read_arrays(name, dir) -> (x, y, x_test, y_test)

The images and labels of `mnist` or `fashionmnist` in the folder `dir`, or where MLDatasets
keeps them.
"""
function read_arrays(name, dir)
    T = name == "mnist" ? MNIST : FashionMNIST
    dir = dir === nothing ? nothing : abspath(expanduser(dir))
    # If a download fails, DataDeps removes the whole folder, and this one is the user's.
    keep = dir === nothing ? () : ("DATADEPS_DISABLE_ERROR_CLEANUP" => "true",)
    train, test = withenv("DATADEPS_ALWAYS_ACCEPT" => "true", keep...) do
        T(; Tx = Float32, split = :train, dir), T(; Tx = Float32, split = :test, dir)
    end
    return train.features, train.targets, test.features, test.targets
end

end
