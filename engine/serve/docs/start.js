// Shows the OpenAPI description of this server; nothing is asked of another one.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#documentation',
  validatorUrl: null,
  deepLinking: false,
});
