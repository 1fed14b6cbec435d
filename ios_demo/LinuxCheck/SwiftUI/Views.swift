// swift-format-ignore-file
import Foundation
import UniformTypeIdentifiers

public protocol Leaf: View {}
extension Leaf { public var body: Never { return fatalError("a declaration") } }

public struct Text: Leaf { public init(_ content: String) {} }
public struct Label: Leaf { public init(_ title: String, systemImage name: String) {} }
public struct Spacer: Leaf { public init() {} }
public struct TextField: Leaf {
  public init(_ title: String, text: Binding<String>) {}
  public init<F: ParseableFormatStyle>(_ title: String, value: Binding<F.FormatInput?>, format: F)
  where F.FormatOutput == String {}
}
public struct Button: Leaf { public init(_ title: String, action: @escaping @MainActor () -> Void) {} }
public struct Toggle: Leaf { public init(_ title: String, isOn: Binding<Bool>) {} }
public struct Stepper: Leaf {
  public init<V: Strideable>(_ title: String, value: Binding<V>, in bounds: ClosedRange<V>, step: V.Stride = 1) {}
}
public struct ProgressView: Leaf {
  public init() {}
  public init<V: BinaryFloatingPoint>(value: V?, total: V = 1) {}
  public init<V: BinaryFloatingPoint>(_ title: String, value: V?, total: V = 1) {}
}
public struct ShareLink: Leaf { public init(_ title: String, item: URL) {} }

public struct ForEach: Leaf {
  public init<Data: RandomAccessCollection, ID: Hashable, Content: View>(
    _ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content
  ) {}
  public init<Data: RandomAccessCollection, Content: View>(
    _ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content
  ) where Data.Element: Identifiable {}
}

public enum HorizontalAlignment { case leading, center, trailing }
public struct VStack: Leaf {
  public init<C: View>(
    alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> C
  ) {}
}
public struct HStack: Leaf { public init<C: View>(@ViewBuilder content: () -> C) {} }
public struct ScrollView: Leaf { public init<C: View>(@ViewBuilder content: () -> C) {} }
public struct NavigationStack: Leaf { public init<C: View>(@ViewBuilder root: () -> C) {} }
public struct Form: Leaf { public init<C: View>(@ViewBuilder content: () -> C) {} }
public struct TabView: Leaf { public init<C: View>(@ViewBuilder content: () -> C) {} }
public struct Section: Leaf { public init<C: View>(_ title: String, @ViewBuilder content: () -> C) {} }

public struct Color: Sendable {
  public static let primary = Color()
  public static let secondary = Color()
  public static let red = Color()
}
public struct Font: Sendable { public static let footnote = Font() }

extension View {
  public func padding() -> some View { self }
  public func font(_ font: Font?) -> some View { self }
  public func foregroundStyle(_ color: Color) -> some View { self }
  public func disabled(_ disabled: Bool) -> some View { self }
  public func navigationTitle(_ title: String) -> some View { self }
  public func tabItem<V: View>(@ViewBuilder _ label: () -> V) -> some View { self }
  public func onChange<V: Equatable>(of value: V, initial: Bool = false, _ action: @escaping (V, V) -> Void)
    -> some View
  { self }
  public func onReceive(_ publisher: NotificationCenter.Publisher, perform action: @escaping (Notification) -> Void)
    -> some View
  { self }
  public func alert<A: View, M: View>(
    _ title: String, isPresented: Binding<Bool>, @ViewBuilder actions: () -> A, @ViewBuilder message: () -> M
  ) -> some View { self }
  public func fileImporter(
    isPresented: Binding<Bool>, allowedContentTypes: [UTType],
    onCompletion: @escaping (Result<URL, any Error>) -> Void
  ) -> some View { self }
}

/// On Apple's systems these two are Foundation's and Combine's.
extension NotificationCenter {
  public struct Publisher: Sendable {}
  public func publisher(for name: Notification.Name, object: AnyObject? = nil) -> Publisher { Publisher() }
}

extension URL {
  public func startAccessingSecurityScopedResource() -> Bool { fatalError("a declaration") }
  public func stopAccessingSecurityScopedResource() {}
}
