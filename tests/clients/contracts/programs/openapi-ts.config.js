export default {
  input: "openapi.json",
  output: { path: "sdk", importFileExtension: ".js" },
  plugins: ["@hey-api/client-fetch", "@hey-api/sdk", "@hey-api/typescript"],
};
