// swift-format-ignore-file
// Stands for Apple's module on Linux: declarations that the app uses, with Apple's signatures and no behaviour.
import Foundation
@_exported import Observation
import UniformTypeIdentifiers

@MainActor @preconcurrency
public protocol View {
  associatedtype Body: View
  @ViewBuilder var body: Body { get }
}

extension Never: View { public var body: Never { return fatalError("a declaration") } }

/// A view of which only the kind is known.
public struct Opaque: View { public var body: Never { return fatalError("a declaration") } }

extension Optional: View where Wrapped: View { public var body: Never { return fatalError("a declaration") } }

@resultBuilder
public enum ViewBuilder {
  public static func buildBlock<each Content: View>(_ content: repeat each Content) -> Opaque { Opaque() }
  public static func buildExpression<Content: View>(_ content: Content) -> Content { content }
  public static func buildIf<Content: View>(_ content: Content?) -> Content? { content }
  public static func buildEither<Content: View>(first: Content) -> Opaque { Opaque() }
  public static func buildEither<Content: View>(second: Content) -> Opaque { Opaque() }
}

@MainActor @preconcurrency
public protocol Scene {
  associatedtype Body: Scene
  var body: Body { get }
}

extension Never: Scene {}

@MainActor @preconcurrency
public protocol App {
  associatedtype Body: Scene
  var body: Body { get }
  init()
}

extension App { public static func main() { fatalError("a declaration") } }

public struct WindowGroup<Content: View>: Scene {
  public init(@ViewBuilder content: () -> Content) {}
  public var body: Never { return fatalError("a declaration") }
}

public enum ScenePhase: Sendable { case background, inactive, active }

extension Scene {
  public func onChange<V: Equatable>(of value: V, initial: Bool = false, _ action: @escaping (V, V) -> Void)
    -> some Scene
  { self }
}

@propertyWrapper
public struct State<Value> {
  public init(wrappedValue value: Value) { fatalError("a declaration") }
  public var wrappedValue: Value {
    get { fatalError("a declaration") }
    nonmutating set { fatalError("a declaration \(newValue)") }
  }
  public var projectedValue: Binding<Value> { fatalError("a declaration") }
}

@propertyWrapper @dynamicMemberLookup
public struct Binding<Value> {
  @preconcurrency
  public init(
    get: @escaping @isolated(any) @Sendable () -> Value, set: @escaping @isolated(any) @Sendable (Value) -> Void
  ) {}
  public var wrappedValue: Value {
    get { fatalError("a declaration") }
    nonmutating set { fatalError("a declaration \(newValue)") }
  }
  public var projectedValue: Binding<Value> { self }
  public subscript<Part>(dynamicMember path: WritableKeyPath<Value, Part>) -> Binding<Part> {
    fatalError("a declaration")
  }
}

extension Binding: @unchecked Sendable where Value: Sendable {}

@propertyWrapper @dynamicMemberLookup
public struct Bindable<Value: AnyObject & Observable> {
  public var wrappedValue: Value
  public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
  public var projectedValue: Bindable<Value> { self }
  public subscript<Part>(dynamicMember path: ReferenceWritableKeyPath<Value, Part>) -> Binding<Part> {
    fatalError("a declaration")
  }
}

public struct EnvironmentValues { public var scenePhase: ScenePhase { fatalError("a declaration") } }

@propertyWrapper
public struct Environment<Value> {
  public init(_ path: KeyPath<EnvironmentValues, Value>) {}
  public var wrappedValue: Value { fatalError("a declaration") }
}
