// swift-format-ignore-file
// Stands for Apple's module on Linux: declarations that the app uses, with Apple's signatures and no behaviour.

public func os_proc_available_memory() -> Int { fatalError("a declaration") }
