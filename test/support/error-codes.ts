import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** A code of an error, a refusal or a warning, and where in src/ it is given. */
export interface GivenCode {
  /** With `*` for what is only known at run time, as in `syscall_*`. */
  readonly code: string;
  readonly place: string;
}

/** What is given as a code, and what could not be told of: a test is to find nothing there. */
export interface ErrorCodes {
  readonly given: readonly GivenCode[];
  readonly untold: readonly string[];
}

/** What holds a code: constructors, functions and objects of ours name it so; the gate's answers call it the cause, as Podman does. */
const NAMES: readonly string[] = ['code', 'cause'];
/** The function of src/errors.ts that gives a code to what has none. */
const CODE_OF = 'codeOf';

/**
 * The codes that a program can give, read off its syntax tree and types. Wherever something named `code` is given a value, the value's type
 * has to say which strings it can be, or the value has to be a code that came from elsewhere: then that place is looked at.
 */
export function errorCodesOf(files: readonly string[], root: string): ErrorCodes {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2024,
    lib: ['lib.es2024.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.NodeNext,
    types: ['node'],
    strict: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    noEmit: true,
  };
  const program = ts.createProgram({ rootNames: files, options });
  const checker = program.getTypeChecker();
  const given: GivenCode[] = [];
  const untold: string[] = [];

  for (const file of program.getSourceFiles()) {
    if (isOurs(file, root)) visit(file);
  }
  return { given, untold };

  function visit(node: ts.Node): void {
    if (ts.isNewExpression(node) || ts.isCallExpression(node)) passed(node);
    else if (ts.isObjectLiteralExpression(node)) assigned(node);
    else if (ts.isReturnStatement(node) && node.expression && nameOfFunctionOf(node) === CODE_OF) take(node.expression);
    ts.forEachChild(node, visit);
  }

  function passed(call: ts.NewExpression | ts.CallExpression): void {
    const declaration = checker.getResolvedSignature(call)?.getDeclaration();
    if (!declaration || !isOurs(declaration.getSourceFile(), root)) return;
    for (const [at, parameter] of declaration.parameters.entries()) {
      const value = call.arguments?.[at];
      if (value && NAMES.includes(parameter.name.getText())) take(value);
    }
  }

  function assigned(object: ts.ObjectLiteralExpression): void {
    const wanted = checker.getContextualType(object);
    const kinds = wanted?.isUnion() ? wanted.types : wanted === undefined ? [] : [wanted];
    for (const property of object.properties) {
      const name = property.name?.getText() ?? '';
      if (!NAMES.includes(name)) continue;
      const declarations = kinds.flatMap((kind) => kind.getProperty(name)?.declarations ?? []);
      // What a library names so is none of ours, as the code of an issue of zod's.
      if (declarations.length > 0 && !declarations.some((one) => isOurs(one.getSourceFile(), root))) continue;
      if (ts.isPropertyAssignment(property)) take(property.initializer);
      else if (ts.isShorthandPropertyAssignment(property)) take(property.name);
    }
  }

  function take(value: ts.Expression): void {
    if (isPassedOn(value)) return;
    if (ts.isConditionalExpression(value)) {
      take(value.whenTrue);
      take(value.whenFalse);
    } else if (ts.isTemplateExpression(value)) {
      for (const code of spelled(value)) add(code, value);
    } else {
      takeType(checker.getTypeAtLocation(value), value);
    }
  }

  function takeType(type: ts.Type, value: ts.Expression): void {
    if (type.isUnion()) for (const one of type.types) takeType(one, value);
    else if (type.isStringLiteral()) add(type.value, value);
    else if (type.flags & ts.TypeFlags.StringLike) untold.push(`${placeOf(value)}: ${value.getText()}`);
    // Another type is no code: the cause of an error, an exit code.
  }

  function spelled({ head, templateSpans }: ts.TemplateExpression): string[] {
    let codes = [head.text];
    for (const { expression, literal } of templateSpans) {
      const parts = stringsOf(checker.getTypeAtLocation(expression)) ?? ['*'];
      codes = codes.flatMap((code) => parts.map((part) => `${code}${part}${literal.text}`));
    }
    return codes;
  }

  /** A code that is looked at where it was made: a parameter or a property of that name, or what codeOf() makes of an error. */
  function isPassedOn(value: ts.Expression): boolean {
    if (ts.isPropertyAccessExpression(value)) return NAMES.includes(value.name.text);
    if (ts.isCallExpression(value)) return value.expression.getText() === CODE_OF;
    if (!ts.isIdentifier(value) || !NAMES.includes(value.text)) return false;
    const symbol = ts.isShorthandPropertyAssignment(value.parent)
      ? checker.getShorthandAssignmentValueSymbol(value.parent)
      : checker.getSymbolAtLocation(value);
    const [declaration] = symbol?.declarations ?? [];
    return declaration !== undefined && (ts.isParameter(declaration) || ts.isBindingElement(declaration));
  }

  function add(code: string, value: ts.Expression): void {
    given.push({ code, place: placeOf(value) });
  }

  function placeOf(node: ts.Node): string {
    const file = node.getSourceFile();
    return `${file.fileName.slice(root.length + 1)}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;
  }
}

/** The codes of src/. */
export function errorCodesOfSource(): ErrorCodes {
  const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
  return errorCodesOf([join(root, 'src/main.ts')], join(root, 'src'));
}

/** The strings that a type allows; undefined where it allows any. */
function stringsOf(type: ts.Type): string[] | undefined {
  const kinds = type.isUnion() ? type.types : [type];
  const strings = kinds.flatMap((kind) => (kind.isStringLiteral() ? [kind.value] : []));
  return strings.length === kinds.length ? strings : undefined;
}

function isOurs(file: ts.SourceFile, root: string): boolean {
  return file.fileName.startsWith(`${root}/`) && !file.fileName.includes('/node_modules/');
}

function nameOfFunctionOf(node: ts.Node): string | undefined {
  return ts.findAncestor(node, ts.isFunctionDeclaration)?.name?.text;
}
