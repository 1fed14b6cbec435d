// swift-tools-version: 6.0
// The kit and the runtime adapter, for Xcode by way of project.yml and for Linux by way of `make ios`.
import PackageDescription

#if os(Linux)
  // Here the functions come from liblitert-lm.so of the litert-lm-api wheel, which exports the same C API.
  let runtimeLibrary: [Target] = []
  let runtimeDependencies: [Target.Dependency] = ["CLiteRT", "EdgeMTPKit"]

  /// Stub modules that stand for Apple's, and the app checked against them; see README.md.
  let linuxOnly: [Target] =
    ["SwiftUI", "UIKit", "UniformTypeIdentifiers", "os"].map { name in
      .target(name: name, dependencies: name == "SwiftUI" ? ["UniformTypeIdentifiers"] : [], path: "LinuxCheck/\(name)")
    } + [
      .target(
        name: "EdgeMTPApp",
        dependencies: ["CPhone", "EdgeMTPKit", "LiteRTRuntime", "SwiftUI", "UIKit", "UniformTypeIdentifiers", "os"],
        path: "App",
        swiftSettings: strict),
      .executableTarget(
        name: "LinuxRun", dependencies: ["EdgeMTPKit", "LiteRTRuntime"], swiftSettings: strict),
      .testTarget(
        name: "LiteRTRuntimeTests", dependencies: ["EdgeMTPKit", "LiteRTRuntime"], swiftSettings: strict),
    ]
  let strict: [SwiftSetting] = [.unsafeFlags(["-warnings-as-errors"])]
#else
  let runtimeLibrary: [Target] = [
    .binaryTarget(
      name: "CLiteRTLM",
      url: "https://github.com/google-ai-edge/LiteRT-LM/releases/download/v0.18.0/CLiteRTLM.xcframework.zip",
      checksum: "d765b99592d4ec3d0c9e2bd69469454af06c834861340672da1891c0c121c347")
  ]
  let runtimeDependencies: [Target.Dependency] = ["CLiteRT", "CLiteRTLM", "EdgeMTPKit"]
  let linuxOnly: [Target] = []
  let strict: [SwiftSetting] = []
#endif

let package = Package(
  name: "EdgeMTP",
  platforms: [.iOS(.v17), .macOS(.v14)],
  products: [
    .library(name: "EdgeMTPKit", targets: ["EdgeMTPKit"]),
    .library(name: "LiteRTRuntime", targets: ["LiteRTRuntime"]),
    .library(name: "CPhone", targets: ["CPhone"]),
  ],
  targets: [
    .target(name: "EdgeMTPKit", swiftSettings: strict),
    .target(name: "CPhone"),
    .target(name: "CLiteRT", linkerSettings: [.linkedLibrary("litert-lm", .when(platforms: [.linux]))]),
    .target(name: "LiteRTRuntime", dependencies: runtimeDependencies, swiftSettings: strict),
    .testTarget(name: "EdgeMTPKitTests", dependencies: ["EdgeMTPKit"], swiftSettings: strict),
  ] + runtimeLibrary + linuxOnly,
  swiftLanguageModes: [.v6])
