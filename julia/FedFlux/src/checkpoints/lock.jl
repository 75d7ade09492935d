# A lock on a folder: one run at a time writes checkpoints into it.

"""
    FolderLock(folder; warn = m -> @warn(m))

Lock `folder`, which is made if it isn't there, for this process: a lock of the operating
system on its file `.lock` (flock; LockFileEx on Windows), which ends with
[`release!`](@ref) or with the process, however that ends. The file stays, and holds the
number of the process that had the lock last. Throws a [`FedFluxError`](@ref) if another
run has it, or if the folder can't be written.

A folder that can be read alone gets no lock if it holds checkpoints, since nobody could
write there; nor does one on a file system without locks, with a warning.
"""
mutable struct FolderLock
    io::Union{Nothing,IOStream}
    FolderLock(io::Union{Nothing,IOStream}) = new(io)
end

const LOCK_FILE = ".lock"

function FolderLock(folder::AbstractString; warn = m -> @warn(m))
    path = joinpath(folder, LOCK_FILE)
    io = try
        mkpath(folder)
        open(path, "a+")
    catch err
        err isa Union{SystemError,Base.IOError} || rethrow()
        isempty(checkpoint_rounds(folder)) || return FolderLock(nothing)
        fail("checkpoint: can't write ", folder, ": ", sprint(showerror, err))
    end
    state = lock_file(RawFD(fd(io)))
    if state === :taken
        holder = strip(read(seekstart(io), String))
        close(io)
        fail("checkpoint: another run writes to ", folder, " (",
            isempty(holder) ? "its process is not known" : holder,
            "); wait for it, end it, or choose another folder")
    elseif state === :unsupported
        close(io)
        warn("the file system of $folder has no locks: don't let two runs write there")
        return FolderLock(nothing)
    end
    name_holder(io)
    return FolderLock(io)
end

"Write who holds the lock; a full disk may leave that open."
function name_holder(io)
    try
        truncate(seekstart(io), 0)
        write(io, "process ", string(getpid()), " on ", gethostname(), "\n")
        flush(io)
    catch err
        err isa Union{SystemError,Base.IOError} || rethrow()
    end
end

"Give the lock back; a second time does nothing."
function release!(l::FolderLock)
    l.io === nothing && return
    unlock_file(RawFD(fd(l.io)))
    close(l.io)
    l.io = nothing
end

# Without waiting: :locked, :taken by another, or :unsupported.
@static if Sys.iswindows()
    const LOCKED_BYTE = UInt32[0, 0, 0, 0, 0, 1, 0, 0]    # OVERLAPPED: far beyond the text
    const TAKEN = 33                                      # ERROR_LOCK_VIOLATION

    handle(file) = ccall(:_get_osfhandle, Ptr{Cvoid}, (RawFD,), file)
    function lock_file(file)
        at_once, alone = 1, 2
        ok = ccall((:LockFileEx, "kernel32"), stdcall, Cint,
            (Ptr{Cvoid}, UInt32, UInt32, UInt32, UInt32, Ptr{UInt32}),
            handle(file), at_once | alone, 0, 1, 0, copy(LOCKED_BYTE))
        ok != 0 && return :locked
        return Libc.GetLastError() == TAKEN ? :taken : :unsupported
    end
    unlock_file(file) = ccall((:UnlockFileEx, "kernel32"), stdcall, Cint,
        (Ptr{Cvoid}, UInt32, UInt32, UInt32, Ptr{UInt32}),
        handle(file), 0, 1, 0, copy(LOCKED_BYTE))
else
    const ALONE, AT_ONCE, UNLOCK = 2, 4, 8

    flock(file, operation) = ccall(:flock, Cint, (RawFD, Cint), file, operation)
    function lock_file(file)
        flock(file, ALONE | AT_ONCE) == 0 && return :locked
        return Libc.errno() == Libc.EAGAIN ? :taken : :unsupported
    end
    # Said aloud, since a forked child may still have the file open.
    unlock_file(file) = flock(file, UNLOCK)
end
